"""Tables in memory, of pandas, polars or PyArrow, known by what they can do: none of these packages is imported."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bertie.errors import InputError, InputTypeError

_AS_LIST = ("tolist", "to_list", "to_pylist")
TEXTS = (("text", "text_pair"), ("text",))
"""What columns of texts and of pairs are called, in the order of what is taken first."""


def is_frame(given: object) -> bool:
    """Whether it is a table whose columns have names. Iterating over one gives these names, or whole columns."""
    return hasattr(given, "columns") and not isinstance(given, Mapping | Sequence)


def columns_in(frame: Any) -> dict[str, Any]:
    """Return a table's columns by name; it is an error if two have the same name, or if there are no rows yet."""
    if not hasattr(frame, "__len__"):
        raise InputTypeError(
            f"The table is a {type(frame).__name__}, whose rows are still to be computed; give what its .collect() "
            "returns."
        )
    names = list(getattr(frame, "column_names", frame.columns))
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InputError(f"The table has two columns {twice!r}; give them names of their own.")
    return {str(name): frame[name] for name in names}


def is_column(given: object) -> bool:
    """Whether it is a column of a table, or an array."""
    return hasattr(given, "__len__") and any(hasattr(given, name) for name in _AS_LIST)


def values_in(column: Any) -> list[Any]:
    """Return what stands in a column, or in any sequence or array, as a list; arrays in it become lists."""
    as_list = next((getattr(column, name) for name in _AS_LIST if hasattr(column, name)), None)
    values = list(column) if as_list is None else as_list()
    if not isinstance(values, list):
        raise InputTypeError(f"The input is {column!r:.60}, an array without dimensions; give its .item().")
    return [value.tolist() if hasattr(value, "tolist") else value for value in values]


def rows_in(frame: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, each with its values by column."""
    columns = columns_in(frame)
    for row in zip(*map(values_in, columns.values()), strict=True):
        yield dict(zip(columns, row, strict=True))


def texts_of(given: Any, namings: Sequence[Sequence[str]] = TEXTS) -> Any:
    """Return what stands in the columns of the first of ``namings`` that a table has, of several as tuples.

    Where a naming is of one column, that may be called otherwise if the table has no other. What is no table comes
    back as it is.
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
        raise InputError(f"The columns of the table are {has}; those that are read are called {wanted}: rename them.")
    values = [values_in(columns[name]) for name in found]
    return values[0] if len(values) == 1 else list(zip(*values, strict=True))


def listed_texts(given: Any) -> list[Any]:
    """Return texts, or pairs, as a list; a str is one text."""
    return [given] if isinstance(given, str) else list(texts_of(given))
