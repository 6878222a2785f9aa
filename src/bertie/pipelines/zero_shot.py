"""Pipelines that choose between labels named by the caller, by entailment or by similarity."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bertie.pipelines.running import CHUNK, Answered, Pipeline
from bertie.progress import say_once


class ZeroShotPipeline(Pipeline):
    """A `Pipeline` that also takes the labels as an argument."""

    def __call__(  # type: ignore[override]  # the reference's name for the first argument
        self, sequences: Any, candidate_labels: Any = None, *, batch_size: int | None = None, **options: Any
    ) -> Any:
        """Return how well each label fits a text, or each of several.

        Args:
            sequences: the texts, as for `Pipeline.__call__`.
            candidate_labels: a list of labels, or a str with commas; None: those that the pipeline was made with.
            batch_size: the most pairs of text and label in a batch, in this call.
            **options: ``hypothesis_template``, ``multi_label`` and the task's others.

        Raises:
            InputError: no labels, or a template without a place for one.
            BertieError: as for `Pipeline.__call__`.
        """
        named = {} if candidate_labels is None else {"candidate_labels": candidate_labels}
        return super().__call__(sequences, batch_size=batch_size, **named, **options)


class ZeroShotSimilarityPipeline(ZeroShotPipeline):
    """A `ZeroShotPipeline` for an embedding model; the labels' vectors are computed once per call."""

    def _stream(self, task: Any, texts: Iterable[Any], size: int | None, chunk: int) -> Iterator[Answered]:
        say_once("Labels are scored by vector similarity: the model was not trained to judge whether a label applies")
        sentences = replace(task, label_vectors=None)
        vectors = np.stack([one.answer for one in super()._stream(sentences, task.hypotheses, size, CHUNK)])
        return super()._stream(replace(task, label_vectors=vectors), texts, size, chunk)
