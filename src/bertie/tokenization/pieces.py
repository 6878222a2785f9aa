"""Texts split into word pieces, before rows are made of them: one text (`Pieces`), and a batch (`EncodedTexts`)."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from bertie.kernels.text_reader import Cut, Read

Span = tuple[int, int]
Ids: TypeAlias = "array[int]"
"""Ids as int64, ``array("q")``: without an object for each id, and joined or sliced in one step."""
Integers: TypeAlias = NDArray[np.int64]

Holder = TypeVar("Holder")
Value = TypeVar("Value")


class lazy_property(Generic[Holder, Value]):
    """``functools.cached_property`` without the lock that Python 3.11 has, on which a forked child may wait forever."""

    def __init__(self, make: Callable[[Holder], Value]) -> None:
        self._make, self.__doc__ = make, make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, holder: Holder, owner: type) -> Value:
        value = vars(holder)[self._name] = self._make(holder)
        return value


class Details(NamedTuple):
    """One entry per piece. ``offsets`` are ``(start, end)`` in characters of the text, or of its word if it came as
    words.
    """

    tokens: list[str]
    offsets: list[Span]
    word_ids: list[int | None]


class Pieces:
    """The word pieces of one text: their ids, and details that are computed on first use."""

    def __init__(self, ids: Ids, compute_details: Callable[[], Details]) -> None:
        self.ids, self._compute_details = ids, compute_details

    @lazy_property
    def details(self) -> Details:
        return self._compute_details()

    @property
    def tokens(self) -> list[str]:
        return self.details.tokens

    @property
    def offsets(self) -> list[Span]:
        return self.details.offsets

    @property
    def word_ids(self) -> list[int | None]:
        return self.details.word_ids

    def __getstate__(self) -> dict[str, Any]:
        return {"ids": self.ids, "details": self.details}


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """A batch of texts: their rows, truncated and with special tokens, and the pieces of each text by its number."""

    rows: Read
    pieces: Callable[[int], Pieces]

    @classmethod
    def of(cls, pieces: Sequence[Pieces], cut: Cut) -> "EncodedTexts":

        return cls(rows_of_pieces(pieces, cut), pieces.__getitem__)

    def __len__(self) -> int:
        return len(self.rows.kept)


def rows_of_pieces(pieces: Sequence[Pieces], cut: Cut) -> Read:
    parts: list[Any] = []
    found = [len(one.ids) for one in pieces]
    kept = found if cut.max_kept is None else [min(size, cut.max_kept) for size in found]
    for one, most in zip(pieces, kept, strict=True):
        parts += [cut.prefix, one.ids[len(one.ids) - most :] if cut.keep_last else one.ids[:most], cut.suffix]
    ids = np.frombuffer(bytearray().join(parts), np.int64)
    return Read(ids, np.array(kept, np.int64), np.array(found, np.int64), None)


def with_others(rows: Read, others: Mapping[int, Pieces], cut: Cut) -> Read:
    """Return ``rows`` with those of ``others``, texts that the kernel did not read, inserted at their numbers."""
    num_special = (len(cut.prefix) + len(cut.suffix)) // 8
    starts = np.cumsum(np.where(rows.kept < 0, 0, rows.kept + num_special))
    kept, found = rows.kept.copy(), rows.counted.copy()
    parts, start = [], 0
    for number, pieces in others.items():
        row = rows_of_pieces([pieces], cut)
        parts += [rows.ids[start : starts[number]], row.ids]
        start = int(starts[number])
        kept[number], found[number] = row.kept[0], row.counted[0]
    return Read(np.concatenate([*parts, rows.ids[start:]]), kept, found, None)
