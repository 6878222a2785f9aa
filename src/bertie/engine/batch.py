"""Batches of rows of tokens for the engine, checked against the model's tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.messages import short


class Rows(Protocol):
    """R rows of T token ids in all, concatenated, such as `bertie.tasks.features.Features`."""

    @property
    def ids(self) -> NDArray[np.int64]: ...  # [T]
    @property
    def types(self) -> NDArray[np.int64] | None: ...  # [T]; None: all 0
    @property
    def lengths(self) -> Sequence[int]: ...  # of each row


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of rows: ids, positions and types ``[T]`` int64, and row offsets ``cu_seqlens`` int32 ``[R + 1]``."""

    ids: NDArray[np.int64]
    types: NDArray[np.int64] | None
    positions: NDArray[np.int64]
    cu_seqlens: NDArray[np.int32]
    lengths: Sequence[int]

    @classmethod
    def of(cls, rows: Rows, config: BertConfig) -> Self:
        lengths = np.asarray(rows.lengths, np.int64)
        starts = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=starts[1:])
        _check(rows, lengths, config)
        positions = positions_of(rows.ids, lengths, config) + config.first_position
        has_types = rows.types is not None and config.type_vocab_size > 0  # tokenizers give types to any model
        types = np.ascontiguousarray(rows.types, np.int64) if has_types else None
        return cls(np.ascontiguousarray(rows.ids, np.int64), types, positions, starts, rows.lengths)

    @property
    def firsts(self) -> NDArray[np.int32]:
        """The index of each row's first token, int32 ``[R]``."""
        return self.cu_seqlens[:-1]


def positions_of(ids: NDArray[np.int64], lengths: NDArray[np.int64], config: BertConfig) -> NDArray[np.int64]:
    """Return the positions ``[T]`` in rows of these lengths, counted from 0.

    In families whose positions skip padding, padding tokens within a text are not counted and have the position -1.
    """
    starts = np.cumsum(lengths) - lengths
    if not config.family.skips_padding:
        return np.arange(len(ids)) - np.repeat(starts, lengths)
    real = ids != config.pad_token_id
    counted = np.cumsum(real) - real  # real tokens before each token
    return np.where(real, counted - np.repeat(counted[starts], lengths), -1)


def _check(rows: Rows, lengths: NDArray[np.int64], config: BertConfig) -> None:
    if lengths.sum() != len(rows.ids) or (len(lengths) and lengths.min() < 1):
        raise InputError(
            f"The rows' lengths {short(lengths.tolist())} must be 1 or more and add up to the {len(rows.ids)} ids."
        )
    if len(lengths) and lengths.max() > config.max_tokens:
        raise InputError(
            f"A text has {lengths.max()} tokens, but the model takes at most {config.max_tokens} "
            f"(max_position_embeddings = {config.max_position_embeddings}); truncate it or split it into windows."
        )
    for name, values, size in (
        ("vocab_size", rows.ids, config.vocab_size),
        ("type_vocab_size", rows.types, config.type_vocab_size),
    ):
        if size and values is not None and len(values) and not (values.min() >= 0 and values.max() < size):
            wrong = values[(values < 0) | (values >= size)][0]
            raise InputError(
                f"A token has the id {wrong}, but {name} is {size}: allowed are 0 to {size - 1}. "
                "Is this the tokenizer the model was trained with?"
            )
