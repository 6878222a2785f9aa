"""From ids to vectors: word, token-type and position embeddings, added and normalized (BERT, figure 2)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bertie.config import BertConfig
from bertie.engine.activations import Array
from bertie.engine.batch import Batch
from bertie.engine.linear import Int8Weight, Linear
from bertie.engine.normalization import Norm
from bertie.engine.weights import WORDS, Weights
from bertie.kernels import library
from bertie.kernels.embeddings import PackedEmbeddings


@dataclass(frozen=True, eq=False)
class Embeddings:
    """``LayerNorm(word + token type + position)``; ``positions`` is None if they are relative.

    ``projection``: from the width of the embeddings to that of the hidden states, if they differ.
    """

    words: Array | Int8Weight
    types: Array
    positions: Array | None
    norm: Norm
    projection: Linear | None

    @classmethod
    def of(cls, weights: Weights, config: BertConfig) -> "Embeddings":
        """Return a model's embeddings; the word embeddings stay in the memory-mapped file."""
        place = "bert.embeddings"
        positions = dense_table(weights.table(f"{place}.position_embeddings"))
        no_types = np.zeros((1, config.embedding_width), np.float32)
        return cls(
            weights.table(WORDS),
            dense_table(weights.table(f"{place}.token_type_embeddings")) if config.type_vocab_size else no_types,
            positions if config.position_embedding_type == "absolute" else None,
            weights.norm(f"{place}.LayerNorm", config.layer_norm_eps),
            weights.linear(f"{place}.projection") if config.embedding_width != config.hidden_size else None,
        )

    @cached_property
    def packed(self) -> PackedEmbeddings | None:
        """The same in one kernel call; None if there are no kernels."""
        if (best := library.best()) is None:
            return None
        words, scale = self.words[:2] if isinstance(self.words, Int8Weight) else (self.words, None)
        return PackedEmbeddings(words, self.types, self.positions, self.norm, best, scale)

    def __call__(self, batch: Batch, threads: int) -> Array:
        """Return the embeddings ``[T, D]``."""
        found = self._normalized(batch, threads)
        return found if self.projection is None else self.projection(found, threads=threads)

    def _normalized(self, batch: Batch, threads: int) -> Array:
        if self.packed is not None:
            return self.packed(batch.ids, batch.types, batch.positions, threads=threads)
        found = rows_of(self.words, batch.ids)
        found += self.types[0] if batch.types is None else self.types[batch.types]
        if self.positions is not None:
            found += self.positions[batch.positions]
        return self.norm(found, threads)


def rows_of(table: Array | Int8Weight, ids: NDArray[np.int64]) -> Array:
    """Return these rows of a table ``[V, D]`` in float32."""
    if isinstance(table, Int8Weight):
        return table.weight[ids] * table.scale[ids, None]
    return table[ids]


def dense_table(table: Array | Int8Weight) -> Array:
    """Return a whole table in float32."""
    return table.dequantized() if isinstance(table, Int8Weight) else table
