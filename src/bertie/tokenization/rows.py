"""Rows of several texts side by side: made together from their pieces, and flat, without padding."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, overload

import numpy as np

from bertie.tokenization.arguments import Call
from bertie.tokenization.encoding import Encoding, Frame, Special, Window
from bertie.tokenization.pieces import Block, Integers, lazy_property
from bertie.tokenization.truncation import truncate


class Flat(NamedTuple):
    """Rows side by side, without padding; lists have one entry a row."""

    ids: Integers  # [T] int64
    types: Integers | None  # [T] int64, or None where every token has the type 0
    lengths: list[int]  # the number of tokens
    tokens_cut: list[int]  # how many tokens truncation left out, as far as they were counted
    empty: list[bool]  # whether the row's texts have no token, cut off or not


class TextRows(Sequence[Encoding]):
    """The rows of single texts of one type: `flat` has them all, an `Encoding` is made when it is asked for."""

    def __init__(self, block: Block, call: Call, frame: Frame, padding: tuple[int, str, Special] | None = None) -> None:
        self._block, self._call, self._frame, self._padding = block, call, frame, padding
        self._made: dict[int, Encoding] = {}

    @lazy_property
    def flat(self) -> "Flat":
        """All rows, without padding."""
        ids, kept, found, _ = self._block.rows
        if self._call.truncation == "only_second" and (kept < found).any():
            self[int(np.argmax(kept < found))]  # says what is wrong
        return Flat(ids, None, (kept + self._frame.size).tolist(), (found - kept).tolist(), (found == 0).tolist())

    def padded(self, width: int, side: str, special: Special) -> "TextRows":
        """Return these rows with padding beside each up to ``width`` tokens."""
        return TextRows(self._block, self._call, self._frame, (width, side, special))

    def __len__(self) -> int:
        return len(self._block)

    @overload
    def __getitem__(self, index: int) -> Encoding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Encoding]: ...
    def __getitem__(self, index: int | slice) -> Encoding | list[Encoding]:
        number = range(len(self))[index]
        if isinstance(number, range):
            return [self[one] for one in number]
        if number not in self._made:
            row = truncate((Window.whole(self._block.pieces(number)),), self._call, self._frame, False)
            self._made[number] = row.padded(*self._padding) if self._padding else row
        return self._made[number]

    def __reduce__(self) -> tuple[type[list[Encoding]], tuple[list[Encoding]]]:
        return list, (list(self),)


class RowsInTurn(Iterable[Encoding]):
    """Rows of many texts, which can be gone through once: some are made, and gone before the next are."""

    def __init__(self, blocks: Iterator[Sequence[Encoding]]) -> None:
        self.blocks = blocks

    def __iter__(self) -> Iterator[Encoding]:
        return chain.from_iterable(self.blocks)


def flat_ids(rows: Iterable[Encoding]) -> Flat:
    """Return the ids of all rows of one call in one array; no list or object is made for a token."""
    if isinstance(rows, TextRows):
        return rows.flat
    if isinstance(rows, RowsInTurn):
        return _joined([flat_ids(block) for block in rows.blocks])
    return _flat_ids(rows)


def _joined(flats: Sequence[Flat]) -> Flat:
    if len(flats) == 1:
        return flats[0]
    types = None
    if any(flat.types is not None for flat in flats):
        types = np.concatenate([np.zeros_like(flat.ids) if flat.types is None else flat.types for flat in flats])
    ids = np.concatenate([np.zeros(0, np.int64), *(flat.ids for flat in flats)])
    lengths = list(chain.from_iterable(flat.lengths for flat in flats))
    tokens_cut = list(chain.from_iterable(flat.tokens_cut for flat in flats))
    return Flat(ids, types, lengths, tokens_cut, list(chain.from_iterable(flat.empty for flat in flats)))


def _flat_ids(rows: Iterable[Encoding]) -> Flat:
    parts: list[Any] = []
    lengths: list[int] = []
    tokens_cut: list[int] = []
    empty: list[bool] = []
    type_parts: list[bytes] = []
    typed = False
    for row in rows:
        frame = row.frame
        parts.append(frame.codes[0])
        for number, window in enumerate(row.windows, 1):
            parts += (window.ids, frame.codes[number])
        lengths.append(len(row))
        tokens_cut.append(row.tokens_cut)
        empty.append(row.is_empty)
        if frame.untyped:
            type_parts.append(bytes(8 * lengths[-1]))
        else:
            typed = True
            type_parts += row.type_parts()
    # a bytearray, because tensors want memory that may be written
    ids = np.frombuffer(bytearray().join(parts), np.int64)
    types = np.frombuffer(bytearray().join(type_parts), np.int64) if typed else None
    return Flat(ids, types, lengths, tokens_cut, empty)
