"""Attention weights of one head, for pictures of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bertie.errors import InputError
from bertie.tasks.arrays import Array
from bertie.tasks.features import Features, Outputs
from bertie.tasks.task import Task


class Attention(NamedTuple):
    """A text's S tokens, and the weights ``[S, S]``: row i says what token i attends to."""

    tokens: list[str]
    weights: Array


@dataclass(frozen=True, kw_only=True)
class AttentionWeights(Task):
    """An answer is the `Attention` of one head; ``layer`` and ``head`` are counted from 0. Only the engine runs it."""

    layer: int = 0
    head: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = {"layer": self.config.num_hidden_layers, "head": self.config.num_attention_heads}
        for name, count in counts.items():
            if not 0 <= getattr(self, name) < count:
                raise InputError(f"{name} is {getattr(self, name)}; the model has 0 to {count - 1}.")

    def run(self, model: Any, features: Features) -> Array:
        """Return the weights of all rows, flattened and concatenated."""
        return np.concatenate([row[self.head].ravel() for row in model.attention_weights(features, self.layer)])

    def rows(self, output: Any, features: Features) -> Sequence[Array]:
        """Return the weights of each row, ``[S, S]``."""
        squares = np.square(features.lengths)
        parts = np.split(output, np.cumsum(squares)[:-1])
        return [part.reshape(length, length) for part, length in zip(parts, features.lengths, strict=True)]

    def decode(self, outputs: Outputs) -> Sequence[Attention]:
        to_tokens = self.tokenizer.convert_ids_to_tokens
        ids = outputs.features.input_ids
        return [Attention(to_tokens(row), weights) for row, weights in zip(ids, outputs.values, strict=True)]
