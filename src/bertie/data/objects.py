"""Python objects as records: dicts, `datasets` objects and DataFrames, recognized by their attributes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bertie.data.record import BadRows, Record
from bertie.errors import InputTypeError
from bertie.frames import is_frame, rows_in

_ALLOWED = "the path of a file, a split of a datasets.DatasetDict, a DataFrame, or an iterable of dicts"


def object_records(source: object, bad: BadRows, name: str | None = None) -> Iterator[Record]:
    """Yield the rows of an object with plain Python values; class numbers of ``datasets`` become names, NaN None."""
    classes = _classes(source)
    of = f" of {name}" if name else ""
    for number, row in enumerate(_rows(source)):
        if not isinstance(row, Mapping):
            bad.add(f"Row {number}{of} is a {type(row).__name__}, not a dict from column to value.")
            continue
        fields = {str(column): _plain(value) for column, value in row.items()}
        fields |= {column: _named(fields.get(column), names) for column, names in classes.items()}
        yield Record(fields, f"row {number}{of}")


def _rows(source: Any) -> Iterable[Any]:
    if isinstance(source, Mapping):
        names = ", ".join(repr(key) for key in list(source)[:10])
        raise InputTypeError(f"The data are a mapping with {names}: choose one of them; data must be {_ALLOWED}.")
    if is_frame(source):
        return rows_in(source)
    if isinstance(source, bytes) or not isinstance(source, Iterable):
        raise InputTypeError(f"The data are a {type(source).__name__}; they must be {_ALLOWED}.")
    return source


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # an array, or a NumPy number
        value = value.tolist()
    if isinstance(value, str | list):
        return value
    try:
        # pandas' missing values are NaN, NaT and pandas.NA; none of them equals itself
        return value if value == value else None
    except (TypeError, ValueError):  # pandas.NA has no truth value
        return None


def _classes(source: object) -> dict[str, list[str]]:
    """Return the class names of each column of class numbers, which ``datasets`` keeps in ``features``."""
    features = getattr(source, "features", None)
    found: dict[str, list[str]] = {}
    for column, feature in features.items() if isinstance(features, Mapping) else ():
        own = getattr(feature, "names", None)
        names = own if isinstance(own, list) else getattr(getattr(feature, "feature", None), "names", None)
        found |= {column: names} if names else {}
    return found


def _named(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    # -1 stands for a label that is kept secret
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
