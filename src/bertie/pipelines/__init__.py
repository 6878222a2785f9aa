"""Pipelines: tokenizer, model and task together, from text to answer. `pipeline` makes one by the task's name."""

from bertie.pipelines.building import pipeline
from bertie.pipelines.choosing import ChoicePipeline
from bertie.pipelines.embedding import EmbedPipeline
from bertie.pipelines.questions import QuestionPipeline
from bertie.pipelines.reranking import RerankPipeline
from bertie.pipelines.running import Pipeline
from bertie.pipelines.searching import Hit, SearchIndex
from bertie.pipelines.tagging import TaggingPipeline

__all__ = [
    "ChoicePipeline",
    "EmbedPipeline",
    "Hit",
    "Pipeline",
    "QuestionPipeline",
    "RerankPipeline",
    "SearchIndex",
    "TaggingPipeline",
    "pipeline",
]
