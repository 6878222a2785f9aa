"""Rows of ids → what a call gives back: lists, arrays, tensors, or a packed batch."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from bertie.errors import InputError
from bertie.tokenization.arguments import Layout, Wanted
from bertie.tokenization.encoding import Encoding, Ids, Special
from bertie.tokenization.padding import rectangle

Values = dict[str, Any]


def values_of(
    rows: Sequence[Encoding], layout: Layout, wanted: Wanted, pad: Special, pad_type: int
) -> tuple[list[Encoding], Values]:
    """Return the rows, overflowing ones after their own if they are wanted, and the values that are wanted by name."""
    samples: list[int] = []
    if wanted.overflowing_tokens:
        samples = [number for number, row in enumerate(rows) for _ in range(1 + len(row.overflowing))]
    longest = max(map(len, rows), default=0)
    if wanted.overflowing_tokens:
        rows = list(chain.from_iterable((row, *row.overflowing) for row in rows))
    if layout.pads:
        width = layout.width(longest)
        rows = [row.padded(width, layout.padding_side, pad, pad_type) for row in rows]
    values = _tensors(rows, layout, wanted) if wanted.tensors else _lists(rows, wanted)
    if wanted.overflowing_tokens:
        values["overflow_to_sample_mapping"] = _convert(samples, wanted.tensors)
    return list(rows), values


def packed(rows: Iterable[Encoding], wanted: Wanted) -> Any:
    """Return all texts as one `Packed`, without padding.

    Raises:
        InputError: the call asks for something that a `Packed` has no place for.
    """
    if wanted.offsets_mapping or wanted.special_tokens_mask or wanted.length:
        raise InputError("return_tensors='packed' gives ids and token types only; ask for lists to have more")
    from bertie.packing import Packed

    if wanted.overflowing_tokens:
        rows = chain.from_iterable((row, *row.overflowing) for row in rows)
    flat = flat_ids(rows)
    return Packed.from_flat(flat.ids, flat.lengths, flat.types)


class Flat(NamedTuple):
    """Rows side by side, without padding; lists have one entry a row.

    Attributes:
        ids: ``[T]`` int64.
        types: ``[T]`` int64, or None where every token has the type 0.
        lengths: the number of tokens.
        tokens_cut: how many tokens truncation left out.
        empty: whether the row's texts have no token, cut off or not.
    """

    ids: "np.ndarray[Any, np.dtype[np.int64]]"
    types: "np.ndarray[Any, np.dtype[np.int64]] | None"
    lengths: list[int]
    tokens_cut: list[int]
    empty: list[bool]


def flat_ids(rows: Iterable[Encoding]) -> Flat:
    """Return the ids of all rows of one call in one array; no list or object is made for a token."""
    parts: list[bytes | Ids] = []
    lengths: list[int] = []
    tokens_cut: list[int] = []
    empty: list[bool] = []
    type_counts: list[tuple[int, int]] = []
    first = last = b""
    for row in rows:
        # one frame is that of all rows
        if not lengths and row.frame:
            first, last = (array("q", [special.id]).tobytes() for special in row.frame)
        parts.append(first)
        for window in row.windows:
            parts += (window.ids, last)
        lengths.append(len(row))
        tokens_cut.append(row.tokens_cut)
        empty.append(row.is_empty)
        type_counts += row.type_counts if len(row.windows) > 1 else ((0, lengths[-1]), (1, 0))
    # a bytearray, because tensors want memory that may be written
    ids = np.frombuffer(bytearray().join(parts), np.int64)
    types = np.repeat(*np.array(type_counts, np.int64).T) if any(count for _, count in type_counts[1::2]) else None
    return Flat(ids, types, lengths, tokens_cut, empty)


def _lists(rows: Sequence[Encoding], wanted: Wanted) -> Values:
    values: Values = {"input_ids": [row.ids for row in rows]}
    for name, read in _columns(wanted).items():
        values[name] = [read(row) for row in rows]
    return values


def _columns(wanted: Wanted) -> dict[str, Callable[[Encoding], Any]]:
    """What is read from each row, beside its ids, in the order of the reference."""
    columns: dict[str, tuple[bool, Callable[[Encoding], Any]]] = {
        "token_type_ids": (wanted.token_type_ids, lambda row: row.type_ids),
        "attention_mask": (wanted.attention_mask, lambda row: row.attention_mask),
        "special_tokens_mask": (wanted.special_tokens_mask, lambda row: row.special_tokens_mask),
        "offset_mapping": (wanted.offsets_mapping, lambda row: row.offsets),
        "length": (wanted.length, len),
    }
    return {name: read for name, (is_wanted, read) in columns.items() if is_wanted}


def _tensors(rows: Sequence[Encoding], layout: Layout, wanted: Wanted) -> Values:
    lists = _lists(rows, wanted)
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise InputError(
            f"the rows have {min(lengths)} to {max(lengths)} tokens, which makes no rectangle; pass padding=True, "
            "or return_tensors='packed' for a batch without padding"
        )
    width = lengths.pop() if lengths else 0
    values = {}
    for name, value in lists.items():
        if name in ("length", "offset_mapping"):
            values[name] = _convert(value, wanted.tensors)
        else:
            values[name] = _convert(rectangle(value, width, 0, layout.padding_side), wanted.tensors)
    return values


def _convert(values: Any, kind: str | None) -> Any:
    """Return numbers as an int64 array or tensor, or as they are for ``kind`` None."""
    if kind is None:
        return values
    import numpy as np

    array = np.asarray(values, dtype=np.int64)
    if kind == "np":
        return array
    import torch

    return torch.from_numpy(array)


def without_places(
    rows: Sequence[Encoding], layout: Layout, wanted: Wanted, pad: Special, pad_type: int, batched: bool
) -> Values:
    """Return the values of rows whose tokens have no known places; what was cut off comes as ``overflowing_tokens``.

    Raises:
        InputError: offsets are wanted, or the overflowing tokens of a pair of which both texts were cut.
    """
    if wanted.offsets_mapping:
        raise InputError("BertTokenizerLegacy knows no offsets; use BertTokenizer for return_offsets_mapping")
    pairs = any(row.n_sequences > 1 for row in rows)
    if wanted.overflowing_tokens and layout.truncation == "longest_first" and pairs:
        raise InputError(
            "truncation='longest_first' cuts both texts of a pair, so there is no one run of overflowing tokens; "
            "use 'only_first' or 'only_second'"
        )
    _, values = values_of(rows, layout, replace(wanted, overflowing_tokens=False), pad, pad_type)
    if wanted.length and batched:
        values["length"] = _convert([len(row) for row in rows], wanted.tensors)
    if wanted.overflowing_tokens and not wanted.tensors:
        cut = [_cut_off(row, layout) for row in rows]
        if any(count for _, count in cut):
            values["overflowing_tokens"] = [ids for ids, _ in cut]
            values["num_truncated_tokens"] = [count for _, count in cut]
    if not batched and not wanted.tensors:
        values = {name: value[0] for name, value in values.items()}
    return values


def _cut_off(row: Encoding, layout: Layout) -> tuple[list[int], int]:
    """Return the ids that were cut off with ``stride`` of those that were not, and how many were cut off."""
    window = row.windows[1 if layout.truncation == "only_second" and row.n_sequences > 1 else 0]
    ids = window.pieces.ids.tolist()
    count = len(ids) - len(window.ids)
    kept = len(ids) - min(len(ids), count + layout.stride) if count else len(ids)
    return (ids[: len(ids) - kept] if layout.truncation_side == "left" else ids[kept:]), count
