"""The values of cells: texts, lists, numbers and missing values; errors say where a cell is."""

import ast
import json
import math
import unicodedata
from typing import Any

from bertie.data.record import BadRow

_FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


def is_nothing(value: object) -> bool:
    """Whether a cell is missing: None, NaN, or blank."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def flag_in(value: object) -> bool | None:
    """Return the value of a cell of 0 or 1, or of true or false; None if it is neither."""
    return _FLAGS.get(str(name_in(value)).casefold())


def text_in(value: object, role: str, where: str) -> str:
    if value is None or value != value:
        raise BadRow(f"There is no {role} in {where}.")
    if not isinstance(value, str):
        raise BadRow(f"The {role} in {where} is {shown(value)}, not a text.")
    if not has_content(value):
        raise BadRow(f"The {role} in {where} is empty.")
    return value


def has_content(text: str) -> bool:
    """Whether a tokenizer finds anything in a text; it drops control and format characters and U+FFFD."""
    return any(
        not one.isspace() and one != "\ufffd" and (one.isprintable() or unicodedata.category(one)[0] != "C")
        for one in text
    )


def list_in(value: object, separator: str | None = None) -> list[Any] | None:
    """Return the list in a cell, also as JSON or Python source, or as text with a ``separator``; None for no list."""
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str):
        return None
    stripped = value.strip()
    if stripped.startswith("[") and stripped.endswith("]"):
        for read in (json.loads, ast.literal_eval):
            try:
                items = read(stripped)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return items if isinstance(items, list) else None
    return [item for item in stripped.split(separator) if item] if separator is not None and stripped else None


def number_in(value: object, where: str) -> float:
    number = number_or_none(value)
    if number is None:
        raise BadRow(f"The label in {where} is {shown(value)}, not a number.")
    return number


def number_or_none(value: Any) -> float | None:
    """Return the finite number in a cell, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def name_in(value: object) -> str | None:
    """Return a label's name as CSV has it, or None if the cell is missing; a whole number has no decimal point."""
    if is_nothing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…" + text[0] * isinstance(value, str)
