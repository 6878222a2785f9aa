"""What a tokenizer makes of texts before rows are made of it: of one text (`Pieces`), and of many side by side."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

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
    """The pieces of several texts; an object for one of them is made when it is asked for.

    Args:
        ids: ``[N]`` int64, N > 0; those of text ``i`` are ``ids[starts[i]:stops[i]]``, the others mean nothing.
        starts: ``[B]`` int64.
        stops: ``[B]`` int64.
        make: the pieces of the text of a number, from its ids.
    """

    def __init__(self, ids: Array, starts: Array, stops: Array, make: Callable[[int, Ids], Pieces]) -> None:
        self.ids, self.starts, self.stops = ids, starts, stops
        self._make = make

    @classmethod
    def of(cls, pieces: Sequence[Pieces]) -> "Block":
        """Return the block of pieces that are at hand."""
        stops = np.cumsum([len(one.ids) for one in pieces], dtype=np.int64)
        starts = np.concatenate((np.zeros(1, np.int64), stops[:-1]))[: len(pieces)]
        ids = np.frombuffer(b"".join([*(one.ids for one in pieces), bytes(8)]), np.int64)
        return cls(ids, starts, stops, lambda number, _: pieces[number])

    def replaced(self, instead: Mapping[int, Pieces]) -> "Block":
        """Return this block with other pieces for some texts."""
        starts, stops = self.starts.copy(), self.stops.copy()
        added = Block.of(list(instead.values()))
        numbers = list(instead)
        starts[numbers] = added.starts + len(self.ids)
        stops[numbers] = added.stops + len(self.ids)
        ids = np.concatenate((self.ids, added.ids))
        return Block(ids, starts, stops, lambda number, ids: instead.get(number) or self._make(number, ids))

    def __len__(self) -> int:
        return len(self.starts)

    def item(self, number: int) -> Pieces:
        ids = self.ids[self.starts[number] : self.stops[number]]
        return self._make(number, array("q", ids.tobytes()))


def replaced(pieces: Sequence[Pieces], instead: Mapping[int, Pieces]) -> Sequence[Pieces]:
    """Return the pieces of texts with others for some of them."""
    if isinstance(pieces, Block):
        return pieces.replaced(instead)
    return [instead.get(number) or one for number, one in enumerate(pieces)]


def joined(parts: Sequence[Sequence[Pieces]]) -> Sequence[Pieces]:
    """Return the pieces of the texts of all parts, of which those are blocks if there are several."""
    if len(parts) == 1:
        return parts[0]
    blocks = [part for part in parts if isinstance(part, Block)]
    shifts = np.cumsum([0, *(len(block.ids) for block in blocks)])
    firsts = np.cumsum([0, *map(len, blocks)])

    def make(number: int, ids: Ids) -> Pieces:
        which = int(np.searchsorted(firsts, number, "right")) - 1
        return blocks[which]._make(number - int(firsts[which]), ids)

    return Block(
        np.concatenate([block.ids for block in blocks]),
        np.concatenate([block.starts + shift for block, shift in zip(blocks, shifts, strict=False)]),
        np.concatenate([block.stops + shift for block, shift in zip(blocks, shifts, strict=False)]),
        make,
    )
