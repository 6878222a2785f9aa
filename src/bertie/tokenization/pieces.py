"""What a tokenizer makes of texts before rows are made of it: of one text (`Pieces`), and of many side by side."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from bertie.kernels.text_reader import Cut, Read

Item = TypeVar("Item", covariant=True)
Span = tuple[int, int]
Ids: TypeAlias = "array[int]"
"""Ids as int64 side by side, ``array("q")``: no object an id, and joined or cut in one step."""
Array: TypeAlias = NDArray[np.int64]


class Pieces(Protocol):
    """What a tokenizer makes of one text, with one entry a piece.

    ``offsets`` are (first character, character after the last) in the text, or in its word if it came pre-split.
    """

    @property
    def ids(self) -> Ids: ...
    @property
    def tokens(self) -> list[str]: ...
    @property
    def offsets(self) -> list[Span]: ...
    @property
    def word_ids(self) -> list[int | None]: ...


@dataclass(frozen=True, slots=True)
class KnownPieces:
    """Pieces of which all is at hand."""

    ids: Ids
    tokens: list[str]
    offsets: list[Span]
    word_ids: list[int | None]


class LatePieces:
    """Pieces of which the ids are at hand; all else is worked out when it is first asked for."""

    __slots__ = ("_known", "_work_out", "ids")

    def __init__(self, ids: Ids, work_out: Callable[[], KnownPieces]) -> None:
        self.ids = ids
        self._work_out = work_out
        self._known: KnownPieces | None = None

    @property
    def tokens(self) -> list[str]:
        return self.known().tokens

    @property
    def offsets(self) -> list[Span]:
        return self.known().offsets

    @property
    def word_ids(self) -> list[int | None]:
        return self.known().word_ids

    def known(self) -> KnownPieces:
        if self._known is None:
            self._known = self._work_out()
        return self._known

    def __reduce__(self) -> tuple[type[KnownPieces], tuple[object, ...]]:
        known = self.known()
        return KnownPieces, (self.ids, known.tokens, known.offsets, known.word_ids)


class MadeLate(Sequence[Item], ABC):
    """A sequence whose items are made when they are asked for."""

    @abstractmethod
    def item(self, number: int) -> Item:
        """Return the item of a number from 0 on."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        found = range(len(self))[index]
        return self.item(found) if isinstance(found, int) else [self.item(number) for number in found]


class Block(MadeLate[Pieces]):
    """The pieces of several texts; ``make`` makes an object of the text of a number when it is asked for."""

    def __init__(self, rows: Read, make: Callable[[int], Pieces]) -> None:
        self.rows = rows
        self._make = make

    def __len__(self) -> int:
        return len(self.rows.kept)

    def item(self, number: int) -> Pieces:
        return self._make(number)


def rows_of_pieces(pieces: Sequence[Pieces], cut: Cut) -> Read:
    """Return the rows of pieces that are at hand."""
    parts: list[Any] = []
    found, kept = [], []
    for one in pieces:
        size = len(one.ids)
        most = size if cut.most is None else min(size, cut.most)
        parts += [cut.before, one.ids[size - most :] if cut.keeps_last else one.ids[:most], cut.behind]
        found.append(size)
        kept.append(most)
    ids = np.frombuffer(bytearray().join(parts), np.int64)
    return Read(ids, np.array(kept, np.int64), np.array(found, np.int64), None)


def with_others(rows: Read, others: Mapping[int, Pieces], cut: Cut) -> Read:
    """Return rows with those of texts that were not read, by their numbers."""
    frame = (len(cut.before) + len(cut.behind)) // 8
    starts = np.cumsum(np.where(rows.kept < 0, 0, rows.kept + frame))
    kept, found = rows.kept.copy(), rows.found.copy()
    parts, start = [], 0
    for number, pieces in others.items():
        row = rows_of_pieces([pieces], cut)
        parts += [rows.ids[start : starts[number]], row.ids]
        start = int(starts[number])
        kept[number], found[number] = row.kept[0], row.found[0]
    return Read(np.concatenate([*parts, rows.ids[start:]]), kept, found, None)
