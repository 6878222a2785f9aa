"""A model without blocks, one vector a token: `StaticEmbedding` of sentence-transformers, and model2vec."""

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.folder import Place, open_weights
from bertie.config import BertConfig
from bertie.engine.activations import Array
from bertie.engine.batch import Rows
from bertie.engine.engine import Engine
from bertie.errors import CheckpointError
from bertie.messages import short
from bertie.threads import available_threads

# texts are not truncated, since there are no position embeddings
_ANY_LENGTH = 2**24
# the table's name in files of sentence-transformers, and of model2vec
_TABLES = ("embedding.weight", "embeddings")


class StaticEmbedding(Engine):
    """An `Engine` whose hidden states are rows of a table ``[V, D]``."""

    def __init__(self, table: Array, name_or_path: str) -> None:
        rows, width = table.shape
        shape: dict[str, Any] = {"num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 1}
        self.config = BertConfig(vocab_size=rows, hidden_size=width, max_position_embeddings=_ANY_LENGTH, **shape)
        self.architecture, self.name_or_path = "StaticEmbedding", name_or_path
        self.threads = available_threads()
        self._table = table
        self._reopen = partial(StaticEmbedding.open_table, os.path.abspath(name_or_path))
        # attributes of other engines
        self._embeddings = self._blocks = self._decoder = self._masked_lm = self._pooler = None
        self._heads = {}

    @classmethod
    def open_table(cls, name_or_path: str | os.PathLike[str], **files: Any) -> "StaticEmbedding":
        """Return the engine of a folder with ``embedding.weight`` in model.safetensors."""
        checkpoint = open_weights(Place(os.fspath(name_or_path), **files))
        name = next((name for name in _TABLES if name in checkpoint.infos), None)
        if name is None or len(checkpoint.infos) > 1:
            raise CheckpointError(
                f"{str(checkpoint.path)!r} has the tensors {short(list(checkpoint.infos))}; a StaticEmbedding has only "
                f"{' or '.join(map(repr, _TABLES))}"
            )
        return cls(checkpoint.float32(name), os.fspath(name_or_path))

    def stored_arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        yield _TABLES[0], self._table

    def hidden_states(self, rows: Rows) -> Array:
        return self._table[rows.ids]

    def first_tokens(self, rows: Rows) -> Array:
        return self._table[rows.ids[np.cumsum([0, *rows.lengths[:-1]])]]

    def layers(self, rows: Rows) -> Iterator[Array]:
        yield self.hidden_states(rows)

    def explain(self) -> str:
        return f"StaticEmbedding on the engine: rows of a table of {len(self._table)}, without blocks"
