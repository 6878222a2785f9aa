"""Sparse embedding: a weight for each word of the vocabulary that a text is about, by a masked-LM head (SPLADE)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertie.tasks.arrays import Array, Integers
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, operations_on
from bertie.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class SparseEmbedding(Task):
    """An answer is the ids of words, in order, and their weights, above 0 (Formal et al. 2021, equation 6).

    A word's weight is the maximum, over the text's tokens, of ``log(1 + max(0, logit))``.
    """

    def run(self, model: Model, features: Features) -> Computed:
        """Return the highest logit of each word in each row, ``[R, V]``."""
        logits = model.masked_lm(features, np.arange(len(features.ids)))
        do = operations_on(logits)
        return do.run_max(do.widened(logits), np.asarray(features.lengths, np.int64))

    def rows(self, output: Any, features: Features) -> list[tuple[Integers, Array]]:
        """Return the words and weights of each row."""
        weights = np.log1p(np.maximum(operations_on(output).to_host(output), 0))
        return [(ids := np.flatnonzero(row), row[ids]) for row in weights]

    def decode(self, outputs: Outputs) -> Sequence[tuple[Integers, Array]]:
        return list(outputs.values)
