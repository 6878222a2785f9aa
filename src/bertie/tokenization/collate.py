"""Rows of ids → the values that a call returns: lists, arrays, tensors or a packed batch, and padding of the rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np

from bertie.errors import InputError, InputTypeError
from bertie.extras import need
from bertie.tokenization.arguments import Call
from bertie.tokenization.encoding import Encoding, SpecialToken
from bertie.tokenization.pieces import Integers
from bertie.tokenization.rows import LazyRows, flat_ids

Values = dict[str, Any]


def values_of(rows: Sequence[Encoding], call: Call, pad: SpecialToken) -> tuple[Sequence[Encoding], Values]:
    """Return the rows, each followed by its overflowing ones if they are requested, and the requested values by name.

    If tensors are requested, ids, types and mask are arrays ``[B, S]``; all other values are lists.
    """
    samples: list[int] = []
    flat = flat_ids(rows)
    width = call.width(max(flat.lengths, default=0)) if call.pads else 0
    if call.return_overflowing_tokens:
        samples = [number for number, row in enumerate(rows) for _ in range(1 + len(row.overflowing))]
        rows = list(chain.from_iterable((row, *row.overflowing) for row in rows))
        flat = flat_ids(rows)
    side = call.padding_side or "right"
    if call.pads:
        padding = width, side, pad
        rows = rows.padded(*padding) if isinstance(rows, LazyRows) else [row.padded(*padding) for row in rows]
    table = _Table(flat.lengths, width, side, call.return_tensors is not None)
    values: Values = {"input_ids": table.of(flat.ids, pad.id)}
    if call.return_token_type_ids:
        values["token_type_ids"] = table.of(0 if flat.types is None else flat.types, pad.type_id)
    if call.return_attention_mask:
        values["attention_mask"] = table.of(1, 0)
    if call.return_special_tokens_mask:
        values["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
    if call.return_offsets_mapping:
        values["offset_mapping"] = [row.offsets for row in rows]
    if call.return_length:
        values["length"] = [max(length, width) for length in flat.lengths]
    if call.return_overflowing_tokens:
        values["overflow_to_sample_mapping"] = samples
    return rows, values


@dataclass(frozen=True, slots=True)
class _Table:
    """Lays out values of rows, padded to ``width`` on ``side``, as lists or as an array."""

    lengths: list[int]
    width: int
    side: str
    as_array: bool

    def of(self, values: Integers | int, pad: int) -> Any:
        """Return the rows of ``values``: ``[T]``, or one int for all tokens."""
        if self.as_array:
            return self._rectangle(values, pad)
        if isinstance(values, int):
            rows = [[values] * length for length in self.lengths]
        else:
            # one long list of all ids would be traversed by every garbage collection that the many lists trigger
            flat = values.data
            rows = [flat[start:stop].tolist() for start, stop in pairwise(accumulate(self.lengths, initial=0))]
        return [_padded(row, self.width, pad, self.side) for row in rows] if self.width else rows

    def _rectangle(self, values: Integers | int, pad: int) -> Integers:
        widths = {max(length, self.width) for length in self.lengths}
        if len(widths) > 1:
            raise InputError(
                f"the rows have {min(widths)} to {max(widths)} tokens, which makes no rectangle; pass padding=True, "
                "or return_tensors='packed' for a batch without padding"
            )
        width = widths.pop() if widths else 0
        array = np.full((len(self.lengths), width), pad, np.int64)
        lengths = np.array(self.lengths, np.int64)[:, None]
        columns = np.arange(width)
        array[columns < lengths if self.side == "right" else columns >= width - lengths] = values
        return array


def values_without_windows(
    rows: Sequence[Encoding], call: Call, pad: SpecialToken, batched: bool
) -> tuple[Sequence[Encoding], Values]:
    """As `values_of`, but with the ids that were cut off as ``overflowing_tokens`` instead of further rows."""
    cuts_both = call.return_overflowing_tokens and call.truncation == "longest_first"
    if cuts_both and any(row.n_sequences > 1 for row in rows):
        raise InputError(
            "truncation='longest_first' may truncate both texts of a pair, so overflowing tokens would not be one "
            "sequence; use 'only_first' or 'only_second'"
        )
    padded, values = values_of(rows, replace(call, return_overflowing_tokens=False), pad)
    if call.return_length and batched:
        values["length"] = [len(row) for row in rows]
    if call.return_overflowing_tokens and not call.return_tensors:
        cut = [_cut_off(row, call) for row in rows]
        if any(count for _, count in cut):
            values["overflowing_tokens"] = [ids for ids, _ in cut]
            values["num_truncated_tokens"] = [count for _, count in cut]
    if not batched and not call.return_tensors:
        values = {name: value[0] for name, value in values.items()}
    return padded, values


def _cut_off(row: Encoding, call: Call) -> tuple[list[int], int]:
    """Return the ids that were cut off, with ``stride`` of the kept ones, and how many were cut off."""
    window = row.windows[1 if call.truncation == "only_second" and row.n_sequences > 1 else 0]
    ids = window.pieces.ids.tolist()
    count = len(ids) - len(window.ids)
    kept = len(ids) - min(len(ids), count + call.stride) if count else len(ids)
    return (ids[: len(ids) - kept] if call.truncation_side == "left" else ids[kept:]), count


def packed(rows: Iterable[Encoding], call: Call) -> Any:
    """Return all texts as one `Packed`, without padding."""
    if call.return_offsets_mapping or call.return_special_tokens_mask or call.return_length:
        raise InputError("return_tensors='packed' returns ids and token types only; leave it out for other values")
    need("torch", "torch", "return_tensors='packed'")
    from bertie.packing import Packed

    if call.return_overflowing_tokens:
        rows = chain.from_iterable((row, *row.overflowing) for row in rows)
    flat = flat_ids(rows)
    return Packed.from_flat(flat.ids, flat.lengths, flat.types)


# padding for data collators


def by_name(features: Any) -> Values:
    """Return a dictionary of values by name, also from a list of dictionaries, one for each text."""
    if isinstance(features, Mapping):
        return dict(features.items())
    if not isinstance(features, (list, tuple)) or not all(isinstance(feature, Mapping) for feature in features):
        raise InputTypeError(f"pad takes a dictionary or a list of dictionaries, not {features!r:.60}")
    names = features[0].keys() if features else ()
    for number, feature in enumerate(features):
        for name in names:
            if name not in feature:
                raise InputError(f"text {number} has no {name!r}, which text 0 has; give every text the same values")
    return {name: [feature[name] for feature in features] for name in names}


def pad_values(values: Values, main: str, call: Call, pads: Mapping[str, int]) -> Values:
    """Pad the ids named ``main`` and the other values of ``pads``; one text (flat lists) like a batch of one."""
    single = len(values[main]) > 0 and not isinstance(values[main][0], (list, tuple))
    if single:
        values = {name: [value] for name, value in values.items()}
    rows = values[main]
    for name, value in values.items():
        if len(value) != len(rows):
            raise InputError(f"{name!r} has {len(value)} entries for {len(rows)} texts; give one for each text")
    if call.return_attention_mask and "attention_mask" not in values:
        values["attention_mask"] = [[1] * len(row) for row in rows]
    if call.pads:
        width = call.width(max(map(len, rows), default=0))
        missing = [width - len(row) for row in rows]
        for name in values.keys() & pads.keys():
            # by as much as the ids: a mask may have more dimensions than they have
            values[name] = [
                _padded(list(row), len(row) + size, pads[name], call.padding_side or "right")
                for row, size in zip(values[name], missing, strict=True)
            ]
    return {name: value[0] for name, value in values.items()} if single else values


def _padded(values: list[Any], width: int, pad: Any, side: str) -> list[Any]:
    padding = [pad] * (width - len(values))
    return padding + values if side == "left" else values + padding


def as_lists(value: Any) -> Any:
    """Return tensors and arrays, also those in lists and mappings, as lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        holds_more = value and (hasattr(value[0], "tolist") or isinstance(value[0], (list, tuple)))
        return [as_lists(entry) for entry in value] if holds_more else value
    if isinstance(value, Mapping):
        return {name: as_lists(entry) for name, entry in value.items()}
    return value


def tensor_kind(value: Any) -> str | None:
    """Return ``"pt"`` or ``"np"`` if the value or its first entry is a tensor or array."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    if isinstance(value, (np.ndarray, np.generic)):
        return "np"
    return "pt" if type(value).__module__.startswith("torch") else None
