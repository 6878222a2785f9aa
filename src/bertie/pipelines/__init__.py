"""Pipelines: tokenizer, model and task together, from text to answer. `pipeline` makes one by the task's name."""

from bertie.pipelines.embedding import EmbedPipeline
from bertie.pipelines.factory import pipeline
from bertie.pipelines.multiple_choice import ChoicePipeline
from bertie.pipelines.question_answering import QuestionAnsweringPipeline
from bertie.pipelines.reranking import RerankPipeline
from bertie.pipelines.running import (
    FeatureExtractionPipeline,
    FillMaskPipeline,
    Pipeline,
    TextClassificationPipeline,
)
from bertie.pipelines.searching import Hit, SearchIndex
from bertie.pipelines.tagging import TokenClassificationPipeline

__all__ = [
    "ChoicePipeline",
    "EmbedPipeline",
    "FeatureExtractionPipeline",
    "FillMaskPipeline",
    "Hit",
    "Pipeline",
    "QuestionAnsweringPipeline",
    "RerankPipeline",
    "SearchIndex",
    "TextClassificationPipeline",
    "TokenClassificationPipeline",
    "pipeline",
]
