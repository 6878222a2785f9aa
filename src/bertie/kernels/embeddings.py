"""From ids to vectors in one call: word, token-type and position embeddings, added and normalized."""

from collections.abc import Sequence
from ctypes import byref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels.arrays import Floats, check_float32, empty
from bertie.kernels.library import EmbeddingsStruct, EmbeddingTableStruct, InstructionSet, NormStruct

Ids = NDArray[np.int64]
_TABLES, _IDS = ("words", "types", "positions"), ("word_ids", "type_ids", "position_ids")


class PackedEmbeddings:
    """``LayerNorm(word + token type + position)``; tables are not copied, so one may be a memory-mapped file."""

    def __init__(
        self,
        words: NDArray[Any],  # [V, D] float32, or int8 with a scale for each row
        types: Floats,  # [N, D]
        positions: Floats | None,  # [P, D], or None where positions are relative
        norm: tuple[Floats, Floats, float],  # weight and bias [D], and epsilon
        instruction_set: InstructionSet,
        scale: Floats | None = None,  # [V]
    ) -> None:
        self.instruction_set = instruction_set
        weight, bias = np.ascontiguousarray(norm[0]), np.ascontiguousarray(norm[1])
        tables = [np.ascontiguousarray(each) for each in (words, types, positions) if each is not None]
        scale = None if scale is None else np.ascontiguousarray(scale, np.float32)
        check_float32(weight.shape, weight, bias, *(tables if scale is None else tables[1:]))
        self._arrays = weight, bias, *tables, scale  # kept alive: the structure holds their addresses
        self._counts = [len(each) for each in tables]
        self._struct = EmbeddingsStruct(columns=len(weight))
        self._struct.norm = NormStruct(weight.ctypes.data, bias.ctypes.data, norm[2])
        for name, table in zip(_TABLES, tables, strict=False):
            setattr(self._struct, name, EmbeddingTableStruct(table.ctypes.data, None, len(table)))
        self._struct.words.scale = None if scale is None else scale.ctypes.data

    def __call__(self, ids: Ids, types: Ids | None, positions: Ids | None, *, threads: int) -> Floats:
        """Return the embeddings ``[T, D]`` of ids ``[T]``; without ``types``, all are of type 0."""
        given = [ids, types, positions][: len(self._counts)]
        arrays = [None if each is None else np.ascontiguousarray(each, np.int64) for each in given]
        if any(each is not None and each.shape != (len(ids),) for each in arrays) or any(
            each is None for each in given[2:]
        ):
            raise InputError("There must be as many token types and positions as ids.")
        struct = EmbeddingsStruct.from_buffer_copy(self._struct)
        for name, each in zip(_IDS, arrays, strict=False):
            setattr(struct, name, None if each is None else each.ctypes.data)
        struct.tokens = len(ids)
        y = empty(len(ids), struct.columns)
        if self.instruction_set.embeddings(byref(struct), y.ctypes.data, threads):
            raise self._bad_id(arrays)
        return y

    def _bad_id(self, arrays: Sequence[Ids | None]) -> InputError:
        """Return the error for an id that C did not find in its table."""
        for name, ids, count in zip(_IDS, arrays, self._counts, strict=True):
            if ids is not None and (wrong := ids[(ids < 0) | (ids >= count)]).size:
                return InputError(f"One of the {name} is {wrong[0]}, but its table ends at {count - 1}.")
        return InputError("An embedding table has no rows.")
