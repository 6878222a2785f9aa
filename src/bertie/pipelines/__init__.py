"""Pipelines: tokenizer, model and task together, from text to answer. `pipeline` makes one by the task's name."""

from bertie.pipelines.building import pipeline
from bertie.pipelines.embedding import EmbedPipeline
from bertie.pipelines.running import Pipeline
from bertie.pipelines.searching import Hit, SearchIndex

__all__ = ["EmbedPipeline", "Hit", "Pipeline", "SearchIndex", "pipeline"]
