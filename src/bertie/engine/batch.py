"""Rows of tokens as the engine takes them, and the checks that its tables need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bertie.config import BertConfig
from bertie.errors import InputError


class Rows(Protocol):
    """R rows of T token ids in all, side by side; `bertie.tasks.features.Features` is such."""

    @property
    def ids(self) -> NDArray[np.int64]: ...  # [T]
    @property
    def types(self) -> NDArray[np.int64] | None: ...  # [T]; None: all 0
    @property
    def lengths(self) -> Sequence[int]: ...  # of each row


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of rows: ids, positions and types ``[T]`` int64, and where each row begins, int32 ``[R + 1]``."""

    ids: NDArray[np.int64]
    types: NDArray[np.int64] | None
    positions: NDArray[np.int64]
    cu_seqlens: NDArray[np.int32]
    lengths: Sequence[int]

    @classmethod
    def of(cls, rows: Rows, config: BertConfig) -> Self:
        """Return rows as a batch."""
        lengths = np.asarray(rows.lengths, np.int64)
        starts = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=starts[1:])
        _check(rows, lengths, config)
        positions = np.arange(len(rows.ids)) - np.repeat(starts[:-1], lengths)
        types = None if rows.types is None else np.ascontiguousarray(rows.types, np.int64)
        return cls(np.ascontiguousarray(rows.ids, np.int64), types, positions, starts, rows.lengths)

    @property
    def firsts(self) -> NDArray[np.int32]:
        """The place of each row's first token, int32 ``[R]``."""
        return self.cu_seqlens[:-1]


def _check(rows: Rows, lengths: NDArray[np.int64], config: BertConfig) -> None:
    if lengths.sum() != len(rows.ids) or (len(lengths) and lengths.min() < 1):
        raise InputError(f"The rows have {lengths.tolist()[:8]} tokens, of {len(rows.ids)} in all; each needs one.")
    if len(lengths) and lengths.max() > config.max_position_embeddings:
        raise InputError(
            f"A text has {lengths.max()} tokens, but the model ends at max_position_embeddings = "
            f"{config.max_position_embeddings}; truncate it or split it into windows."
        )
    for name, values, size in (
        ("vocab_size", rows.ids, config.vocab_size),
        ("type_vocab_size", rows.types, config.type_vocab_size),
    ):
        if values is not None and len(values) and not (values.min() >= 0 and values.max() < size):
            wrong = values[(values < 0) | (values >= size)][0]
            raise InputError(
                f"A token has the id {wrong}, but {name} is {size}: allowed are 0 to {size - 1}. "
                "Is this the tokenizer the model was trained with?"
            )
