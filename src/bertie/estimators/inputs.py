"""What scikit-learn's users call X and y, as texts, words and tags: lists, arrays, and columns of a DataFrame."""

from collections.abc import Sequence
from typing import Any

from bertie.errors import InputError, InputTypeError
from bertie.pipelines.running import listed
from bertie.tasks.text_encoder import is_pair


def texts_in(given: Any) -> list[Any]:
    """Return texts, each a str, or pairs, each a tuple of two."""
    _refuse_one(given, "a text", "a list of texts")
    return [_text(one, place) for place, one in enumerate(_rows(given))]


def sequences_in(given: Any, name: str, item: str) -> list[list[str]]:
    """Return one list of str (words, or tags) a text."""
    _refuse_one(given, "a text", f"a list with a list of {item}s for each text")
    found = []
    for place, row in enumerate(_rows(given, DataFrame=False)):
        values = row.tolist() if hasattr(row, "tolist") else row
        if isinstance(values, str) or not isinstance(values, Sequence) or not all(isinstance(x, str) for x in values):
            raise InputTypeError(f"{name}[{place}] is {row!r:.60}; it must be a list of {item}s, each a str.")
        found.append(list(values))
    return found


def row_of(text: Any, label: Any) -> dict[str, Any]:
    """Return a text or pair with its label as `bertie.finetune` reads it."""
    columns = {"text": text} if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
    return {**columns, "label": label}


def _rows(given: Any, DataFrame: bool = True) -> list[Any]:
    if not hasattr(given, "columns"):
        return listed(given)
    width = len(given.columns)
    if not DataFrame or width not in (1, 2):
        allowed = "one column of texts, or two of pairs" if DataFrame else "one column, chosen as frame['words']"
        raise InputError(f"X is a table of {width} columns; give {allowed}.")
    return listed(given.to_numpy())


def _text(one: Any, place: int) -> Any:
    if isinstance(one, list | tuple) and len(one) == 1:
        one = one[0]
    if isinstance(one, str):
        return str(one)
    if is_pair(one):
        return tuple(one)
    raise InputTypeError(f"X[{place}] is {one!r:.60} ({type(one).__name__}); it must be a str, or a pair of them.")


def _refuse_one(given: Any, found: str, wanted: str) -> None:
    if isinstance(given, str):
        raise InputTypeError(f"X is {found}, {given!r:.60}; give {wanted}.")
