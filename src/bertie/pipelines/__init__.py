"""Pipelines: a tokenizer, a model and a task, from text to answer. `pipeline` makes one by the task's name."""

from bertie.pipelines.embedding import EmbedPipeline
from bertie.pipelines.factory import pipeline
from bertie.pipelines.paired_inputs import ChoicePipeline, QuestionAnsweringPipeline, RerankPipeline
from bertie.pipelines.running import (
    FeatureExtractionPipeline,
    FillMaskPipeline,
    GenerationPipeline,
    Pipeline,
    TextClassificationPipeline,
    TokenClassificationPipeline,
)
from bertie.pipelines.searching import Hit, SearchIndex
from bertie.pipelines.zero_shot import ZeroShotPipeline, ZeroShotSimilarityPipeline

__all__ = [
    "ChoicePipeline",
    "EmbedPipeline",
    "FeatureExtractionPipeline",
    "FillMaskPipeline",
    "GenerationPipeline",
    "Hit",
    "Pipeline",
    "QuestionAnsweringPipeline",
    "RerankPipeline",
    "SearchIndex",
    "TextClassificationPipeline",
    "TokenClassificationPipeline",
    "ZeroShotPipeline",
    "ZeroShotSimilarityPipeline",
    "pipeline",
]
