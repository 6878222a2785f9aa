"""Python objects as records: dicts, `datasets` objects and DataFrames, recognised by what they can do."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bertie.data.record import BadRows, Record
from bertie.errors import InputTypeError

_TAKES = "a file's path, a split of a datasets.DatasetDict, a pandas DataFrame, or an iterable of dicts"


def object_records(source: Any, bad: BadRows, name: str | None = None) -> Iterator[Record]:
    """Yield the rows of an object with plain Python values.

    Class numbers of ``datasets`` become the classes' names, NaN and what pandas writes for nothing None, arrays lists.
    """
    rows = _rows(source)
    namers = _namers(source)
    of = f" of {name}" if name else ""
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            bad.add(f"Row {number}{of} is a {type(row).__name__}, not a dict from column to value.")
            continue
        fields = {str(column): _plain(value) for column, value in row.items()}
        fields |= {column: namer(fields.get(column)) for column, namer in namers.items()}
        yield Record(fields, f"row {number}{of}")


def _rows(source: Any) -> Iterable[Any]:
    if isinstance(source, Mapping):
        names = ", ".join(repr(key) for key in list(source)[:10])
        raise InputTypeError(f"The data are a mapping with {names}: choose one of them; rows come as {_TAKES}.")
    if hasattr(source, "itertuples"):
        return _frame(source)
    if isinstance(source, bytes) or not isinstance(source, Iterable):
        raise InputTypeError(f"The data are a {type(source).__name__}; they must be {_TAKES}.")
    return source


def _frame(frame: Any) -> Iterator[dict[str, Any]]:
    columns = [str(column) for column in frame.columns]
    for row in frame.itertuples(index=False, name=None):
        yield dict(zip(columns, row, strict=True))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # an array, or a NumPy number
        value = value.tolist()
    # NaN, NaT and pandas.NA are what pandas writes for nothing; none of them equals itself
    return value if isinstance(value, str | list) or _equals_itself(value) else None


def _equals_itself(value: Any) -> bool:
    try:
        return bool(value == value)
    except (TypeError, ValueError):  # pandas.NA has no truth
        return False


def _namers(source: Any) -> dict[str, Callable[[Any], Any]]:
    """Return for each column of class numbers what turns them into names (``datasets`` keeps these in ``features``)."""
    features = getattr(source, "features", None)
    if not isinstance(features, Mapping):
        return {}
    found = {column: _names(feature) for column, feature in features.items()}
    return {column: _namer(names) for column, names in found.items() if names}


def _names(feature: Any) -> list[str] | None:
    own = getattr(feature, "names", None)
    return own if isinstance(own, list) else getattr(getattr(feature, "feature", None), "names", None)


def _namer(names: list[str]) -> Callable[[Any], Any]:
    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(one) for one in value]
        # -1 is written for a label that is kept secret
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else None

    return named
