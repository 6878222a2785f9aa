"""Rows of many texts: an `Encoding` made on demand, and all ids concatenated without padding."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, overload

import numpy as np

from bertie.tokenization.arguments import Call
from bertie.tokenization.encoding import Encoding, SpecialToken, Template, Window
from bertie.tokenization.pieces import EncodedTexts, Integers, lazy_property
from bertie.tokenization.truncation import truncate


class FlatRows(NamedTuple):
    """Rows concatenated without padding; lists have one entry per row."""

    ids: Integers  # [T] int64
    types: Integers | None  # [T] int64, or None if every token has type 0
    lengths: list[int]  # the number of tokens
    tokens_cut: list[int]  # the number of tokens that truncation removed, up to the count limit
    empty: list[bool]  # whether the row's texts have no tokens, truncated ones included


class LazyRows(Sequence[Encoding]):
    """The rows of single texts whose tokens have type 0: `flat` has all ids, an `Encoding` is made on access."""

    def __init__(
        self,
        encoded: EncodedTexts,
        call: Call,
        template: Template,
        padding: tuple[int, str, SpecialToken] | None = None,
    ) -> None:
        self._encoded, self._call, self._template, self._padding = encoded, call, template, padding
        self._made: dict[int, Encoding] = {}

    @lazy_property
    def flat(self) -> "FlatRows":
        """All rows, without padding."""
        ids, kept, found, _ = self._encoded.rows
        if self._call.truncation == "only_second" and (kept < found).any():
            self[int(np.argmax(kept < found))]  # raises the error
        return FlatRows(
            ids, None, (kept + self._template.size).tolist(), (found - kept).tolist(), (found == 0).tolist()
        )

    def padded(self, width: int, side: str, special: SpecialToken) -> "LazyRows":
        """Return these rows, each padded to ``width`` tokens."""
        return LazyRows(self._encoded, self._call, self._template, (width, side, special))

    def __len__(self) -> int:
        return len(self._encoded)

    @overload
    def __getitem__(self, index: int) -> Encoding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Encoding]: ...
    def __getitem__(self, index: int | slice) -> Encoding | list[Encoding]:
        number = range(len(self))[index]
        if isinstance(number, range):
            return [self[one] for one in number]
        if number not in self._made:
            row = truncate((Window.whole(self._encoded.pieces(number)),), self._call, self._template, False)
            self._made[number] = row.padded(*self._padding) if self._padding else row
        return self._made[number]

    def __reduce__(self) -> tuple[type[list[Encoding]], tuple[list[Encoding]]]:
        return list, (list(self),)


class RowStream(Iterable[Encoding]):
    """Rows of many texts, to be iterated over once; only one chunk of them is in memory at a time."""

    def __init__(self, chunks: Iterator[Sequence[Encoding]]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[Encoding]:
        return chain.from_iterable(self.chunks)


def flat_ids(rows: Iterable[Encoding]) -> FlatRows:
    """Return the ids of all rows of a call in one array, without a Python object for each token."""
    if isinstance(rows, LazyRows):
        return rows.flat
    if isinstance(rows, RowStream):
        return _concatenated([flat_ids(chunk) for chunk in rows.chunks])
    return _flattened(rows)


def _concatenated(flats: Sequence[FlatRows]) -> FlatRows:
    if len(flats) == 1:
        return flats[0]
    types = None
    if any(flat.types is not None for flat in flats):
        types = np.concatenate([np.zeros_like(flat.ids) if flat.types is None else flat.types for flat in flats])
    ids = np.concatenate([np.zeros(0, np.int64), *(flat.ids for flat in flats)])
    lengths = list(chain.from_iterable(flat.lengths for flat in flats))
    tokens_cut = list(chain.from_iterable(flat.tokens_cut for flat in flats))
    return FlatRows(ids, types, lengths, tokens_cut, list(chain.from_iterable(flat.empty for flat in flats)))


def _flattened(rows: Iterable[Encoding]) -> FlatRows:
    parts: list[Any] = []
    lengths: list[int] = []
    tokens_cut: list[int] = []
    empty: list[bool] = []
    type_parts: list[bytes] = []
    typed = False
    for row in rows:
        template = row.template
        parts.append(template.id_bytes[0])
        for number, window in enumerate(row.windows, 1):
            parts += (window.ids, template.id_bytes[number])
        lengths.append(len(row))
        tokens_cut.append(row.tokens_cut)
        empty.append(row.is_empty)
        if template.untyped:
            type_parts.append(bytes(8 * lengths[-1]))
        else:
            typed = True
            type_parts += row.type_parts()
    # a bytearray, because tensors need writable memory
    ids = np.frombuffer(bytearray().join(parts), np.int64)
    types = np.frombuffer(bytearray().join(type_parts), np.int64) if typed else None
    return FlatRows(ids, types, lengths, tokens_cut, empty)
