"""Rows of ids → what a call gives back: lists, arrays, tensors, or a packed batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np

from bertie.errors import InputError
from bertie.extras import need
from bertie.tokenization.arguments import Layout, Wanted
from bertie.tokenization.encoding import Encoding, Special
from bertie.tokenization.padding import filled
from bertie.tokenization.pieces import Array
from bertie.tokenization.rows import TextRows, flat_ids

Values = dict[str, Any]


def values_of(
    rows: Sequence[Encoding], layout: Layout, wanted: Wanted, pad: Special, pad_type: int
) -> tuple[Sequence[Encoding], Values]:
    """Return the rows, overflowing ones after their own if they are wanted, and the values that are wanted by name.

    Raises:
        InputError: tensors are wanted of rows of different lengths.
    """
    samples: list[int] = []
    flat = flat_ids(rows)
    width = layout.width(max(flat.lengths, default=0)) if layout.pads else 0
    if wanted.overflowing_tokens:
        samples = [number for number, row in enumerate(rows) for _ in range(1 + len(row.overflowing))]
        rows = list(chain.from_iterable((row, *row.overflowing) for row in rows))
        flat = flat_ids(rows)
    if layout.pads:
        rows = _padded(rows, width, layout.padding_side, pad, pad_type)
    table = _Table(flat.lengths, width, layout.padding_side, wanted.tensors)
    values: Values = {"input_ids": table.of(flat.ids, pad.id)}
    if wanted.token_type_ids:
        values["token_type_ids"] = table.of(0 if flat.types is None else flat.types, pad_type)
    if wanted.attention_mask:
        values["attention_mask"] = table.of(1, 0)
    if wanted.special_tokens_mask:
        values["special_tokens_mask"] = _convert([row.special_tokens_mask for row in rows], wanted.tensors)
    if wanted.offsets_mapping:
        values["offset_mapping"] = _convert([row.offsets for row in rows], wanted.tensors)
    if wanted.length:
        values["length"] = _convert(table.padded_lengths, wanted.tensors)
    if wanted.overflowing_tokens:
        values["overflow_to_sample_mapping"] = _convert(samples, wanted.tensors)
    return rows, values


def _padded(rows: Sequence[Encoding], *padding: Any) -> Sequence[Encoding]:
    return rows.padded(*padding) if isinstance(rows, TextRows) else [row.padded(*padding) for row in rows]


@dataclass(frozen=True, slots=True)
class _Table:
    """Lays values of rows out, filled up to ``width`` on ``side``, as lists or ``tensors``."""

    lengths: list[int]
    width: int
    side: str
    tensors: str | None

    @property
    def padded_lengths(self) -> list[int]:
        return [max(length, self.width) for length in self.lengths]

    def of(self, values: Array | int, filling: int) -> Any:
        """Return the rows of ``values``, ``[T]`` or one for all tokens."""
        return (
            _convert(self._rectangle(values, filling), self.tensors) if self.tensors else self._lists(values, filling)
        )

    def _lists(self, values: Array | int, filling: int) -> list[list[int]]:
        if isinstance(values, int):
            rows = [[values] * length for length in self.lengths]
        else:
            flat = values.tolist()
            rows = [flat[start:stop] for start, stop in pairwise(accumulate(self.lengths, initial=0))]
        return [filled(row, self.width, filling, self.side) for row in rows] if self.width else rows

    def _rectangle(self, values: Array | int, filling: int) -> Array:
        widths = set(self.padded_lengths)
        if len(widths) > 1:
            raise InputError(
                f"the rows have {min(widths)} to {max(widths)} tokens, which makes no rectangle; pass padding=True, "
                "or return_tensors='packed' for a batch without padding"
            )
        width = widths.pop() if widths else 0
        array = np.full((len(self.lengths), width), filling, np.int64)
        lengths = np.array(self.lengths, np.int64)[:, None]
        columns = np.arange(width)
        array[columns < lengths if self.side == "right" else columns >= width - lengths] = values
        return array


def packed(rows: Iterable[Encoding], wanted: Wanted) -> Any:
    """Return all texts as one `Packed`, without padding.

    Raises:
        InputError: the call asks for something that a `Packed` has no place for.
    """
    if wanted.offsets_mapping or wanted.special_tokens_mask or wanted.length:
        raise InputError("return_tensors='packed' gives ids and token types only; ask for lists to have more")
    need("torch", "torch", "return_tensors='packed'")
    from bertie.packing import Packed

    if wanted.overflowing_tokens:
        rows = chain.from_iterable((row, *row.overflowing) for row in rows)
    flat = flat_ids(rows)
    return Packed.from_flat(flat.ids, flat.lengths, flat.types)


def _convert(values: Any, kind: str | None) -> Any:
    """Return numbers as an int64 array or tensor, or as they are for ``kind`` None."""
    if kind is None:
        return values
    array = np.asarray(values, dtype=np.int64)
    if kind == "np":
        return array
    return need("torch", "torch", f"return_tensors={kind!r}").from_numpy(array)


def values_without_windows(
    rows: Sequence[Encoding], layout: Layout, wanted: Wanted, pad: Special, pad_type: int, batched: bool
) -> tuple[Sequence[Encoding], Values]:
    """As `values_of`, but what was cut off comes as ``overflowing_tokens`` instead of further rows.

    Raises:
        InputError: the overflowing tokens are wanted of a pair of which both texts were cut.
    """
    cuts_both = wanted.overflowing_tokens and layout.truncation == "longest_first"
    if cuts_both and any(row.n_sequences > 1 for row in rows):
        raise InputError(
            "truncation='longest_first' cuts both texts of a pair, so there is no one run of overflowing tokens; "
            "use 'only_first' or 'only_second'"
        )
    padded, values = values_of(rows, layout, replace(wanted, overflowing_tokens=False), pad, pad_type)
    if wanted.length and batched:
        values["length"] = _convert([len(row) for row in rows], wanted.tensors)
    if wanted.overflowing_tokens and not wanted.tensors:
        cut = [_cut_off(row, layout) for row in rows]
        if any(count for _, count in cut):
            values["overflowing_tokens"] = [ids for ids, _ in cut]
            values["num_truncated_tokens"] = [count for _, count in cut]
    if not batched and not wanted.tensors:
        values = {name: value[0] for name, value in values.items()}
    return padded, values


def _cut_off(row: Encoding, layout: Layout) -> tuple[list[int], int]:
    """Return the ids that were cut off with ``stride`` of those that were not, and how many were cut off."""
    window = row.windows[1 if layout.truncation == "only_second" and row.n_sequences > 1 else 0]
    ids = window.pieces.ids.tolist()
    count = len(ids) - len(window.ids)
    kept = len(ids) - min(len(ids), count + layout.stride) if count else len(ids)
    return (ids[: len(ids) - kept] if layout.truncation_side == "left" else ids[kept:]), count
