"""Filling rows up to one length: those of a call, and those that a data collator brings back."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bertie.errors import InputError, InputTypeError
from bertie.tokenization.arguments import Layout


class Fillings(NamedTuple):
    """What padding is made of, by the name of the value that is padded."""

    ids: int
    token_type_ids: int

    def of(self, name: str, main: str) -> int | None:
        """Return the filling of a value, or None if it is not padded."""
        known = {"attention_mask": 0, "token_type_ids": self.token_type_ids, "special_tokens_mask": 1, main: self.ids}
        return known.get(name)


def filled(values: list[Any], width: int, filling: Any, side: str) -> list[Any]:
    """Return the values of one row filled up to ``width`` on ``side``."""
    missing = [filling] * (width - len(values))
    return missing + values if side == "left" else values + missing


def collated(features: Any) -> dict[str, Any]:
    """Return a dictionary of values by name, also from a list of such dictionaries, one for each text.

    Raises:
        InputError: a text lacks a value that the first one has.
        InputTypeError: it is neither a dictionary nor a list of them.
    """
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


def pad_values(
    values: dict[str, Any], main: str, layout: Layout, fillings: Fillings, attention_mask: bool
) -> dict[str, Any]:
    """Fill up the ids named ``main``, and the masks beside them; every other value stays as it is.

    One text (flat lists) is padded like a batch of one.

    Raises:
        InputError: the values are not all of as many texts.
    """
    single = len(values[main]) > 0 and not isinstance(values[main][0], (list, tuple))
    if single:
        values = {name: [value] for name, value in values.items()}
    rows = values[main]
    for name, value in values.items():
        if len(value) != len(rows):
            raise InputError(f"{name!r} has {len(value)} entries for {len(rows)} texts; give one for each text")
    if attention_mask and "attention_mask" not in values:
        values["attention_mask"] = [[1] * len(row) for row in rows]
    if layout.pads:
        width = layout.width(max(map(len, rows), default=0))
        missing = [width - len(row) for row in rows]
        for name in values:
            filling = fillings.of(name, main)
            if filling is not None:
                # by what the ids miss: a mask may have more dimensions than they have
                values[name] = [
                    filled(list(row), len(row) + size, filling, layout.padding_side)
                    for row, size in zip(values[name], missing, strict=True)
                ]
    return {name: value[0] for name, value in values.items()} if single else values


def as_lists(value: Any) -> Any:
    """Return tensors and arrays (also in lists) as lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [as_lists(entry) for entry in value] if _holds_tensors(value) else value
    if isinstance(value, Mapping):
        return {name: as_lists(entry) for name, entry in value.items()}
    return value


def tensor_kind(value: Any) -> str | None:
    """Return ``"pt"`` or ``"np"`` if the value is, or its first entry is, a tensor or array."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    if isinstance(value, (np.ndarray, np.generic)):
        return "np"
    return "pt" if type(value).__module__.startswith("torch") else None


def _holds_tensors(values: Sequence[Any]) -> bool:
    return bool(values) and (hasattr(values[0], "tolist") or isinstance(values[0], (list, tuple)))
