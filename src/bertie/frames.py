"""Data frames of pandas, polars or PyArrow, recognised by duck typing: none of these packages is imported."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bertie.errors import InputError, InputTypeError

_AS_LIST = ("tolist", "to_list", "to_pylist")
TEXT_COLUMNS = (("text", "text_pair"), ("text",))
"""The names of the columns of pairs and of texts, in order of preference."""


def is_frame(given: object) -> bool:
    """Whether it is a data frame. Iterating over one yields column names or whole columns, not rows."""
    return hasattr(given, "columns") and not isinstance(given, Mapping | Sequence)


def columns_in(frame: Any) -> dict[str, Any]:
    """Return a data frame's columns by name; duplicate names and lazy frames are errors."""
    if not hasattr(frame, "__len__"):
        raise InputTypeError(f"The table is a {type(frame).__name__}, which is lazy; give what its .collect() returns.")
    names = list(getattr(frame, "column_names", frame.columns))
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise InputError(f"The table has two columns {twice!r}; rename one of them.")
    return {str(name): frame[name] for name in names}


def is_column(given: object) -> bool:
    """Whether it is a column of a data frame, or an array."""
    return hasattr(given, "__len__") and any(hasattr(given, name) for name in _AS_LIST)


def values_in(column: Any) -> list[Any]:
    """Return the values of a column, sequence or array as a list; arrays among them become lists."""
    as_list = next((getattr(column, name) for name in _AS_LIST if hasattr(column, name)), None)
    values = list(column) if as_list is None else as_list()
    if not isinstance(values, list):
        raise InputTypeError(f"The input is {column!r:.60}, an array without dimensions; give its .item().")
    return [value.tolist() if hasattr(value, "tolist") else value for value in values]


def rows_in(frame: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a data frame as dicts by column."""
    columns = columns_in(frame)
    for row in zip(*map(values_in, columns.values()), strict=True):
        yield dict(zip(columns, row, strict=True))


def texts_of(given: Any, namings: Sequence[Sequence[str]] = TEXT_COLUMNS) -> Any:
    """Return the values of a data frame's columns, as tuples if there are several; other inputs are returned unchanged.

    The first of ``namings`` whose columns all exist is used. A naming of a single column also matches the only column
    of a frame, whatever its name.
    """
    if not is_frame(given):
        return given
    columns = columns_in(given)
    found = next((naming for naming in namings if set(naming) <= set(columns)), None)
    if found is None and len(columns) == 1 and any(len(naming) == 1 for naming in namings):
        found = tuple(columns)
    if found is None:
        has = ", ".join(map(repr, columns)) or "none"
        wanted = ", or ".join(" and ".join(map(repr, naming)) for naming in namings)
        raise InputError(f"The columns of the table are {has}; bertie reads {wanted}; rename them.")
    values = [values_in(columns[name]) for name in found]
    return values[0] if len(values) == 1 else list(zip(*values, strict=True))


def listed_texts(given: Any) -> list[Any]:
    """Return texts, or pairs, as a list; a str is one text."""
    return [given] if isinstance(given, str) else list(texts_of(given))
