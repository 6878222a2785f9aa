"""Pipelines that choose between labels which the caller names, by entailment or by the nearness of vectors."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bertie.pipelines.running import CHUNK, Answered, Pipeline
from bertie.progress import say_once


class ZeroShotPipeline(Pipeline):
    """As `Pipeline`; the labels may be given beside the texts."""

    def __call__(  # type: ignore[override]  # the reference's name for the first argument
        self, sequences: Any, candidate_labels: Any = None, *, batch_size: int | None = None, **options: Any
    ) -> Any:
        """Return how well each label fits a text, or each of several.

        Args:
            sequences: what to classify, as `Pipeline.__call__` takes it.
            candidate_labels: the labels, a list or a str with commas; None: those that the pipeline was made with.
            batch_size: the most pairs of text and label in a batch, in this call.
            **options: ``hypothesis_template``, ``multi_label`` and the task's others.

        Raises:
            InputError: no labels, or a template without a place for one.
            BertieError: as `Pipeline.__call__`.
        """
        named = {} if candidate_labels is None else {"candidate_labels": candidate_labels}
        return super().__call__(sequences, batch_size=batch_size, **named, **options)


class ZeroShotSimilarityPipeline(ZeroShotPipeline):
    """As `ZeroShotPipeline`, for a model of sentence vectors; the labels' vectors are made once a call."""

    def _stream(self, task: Any, texts: Iterable[Any], size: int | None, chunk: int) -> Iterator[Answered]:
        say_once("The labels are compared by sentence vectors: the model was not trained to judge whether one holds")
        sentences = replace(task, label_vectors=None)
        vectors = np.stack([one.answer for one in super()._stream(sentences, task.hypotheses, size, CHUNK)])
        return super()._stream(replace(task, label_vectors=vectors), texts, size, chunk)
