"""Pipelines: tokenizer, model and task together, from text to answer. `pipeline` makes one by the task's name."""

from bertie.pipelines.building import pipeline
from bertie.pipelines.embedding import EmbedPipeline
from bertie.pipelines.running import Pipeline

__all__ = ["EmbedPipeline", "Pipeline", "pipeline"]
