"""scikit-learn's X and y read as texts, words and tags: from lists, arrays, and columns of a DataFrame."""

from collections.abc import Sequence
from typing import Any

from bertie.errors import InputError, InputTypeError
from bertie.frames import TEXT_COLUMNS, columns_in, is_frame, texts_of
from bertie.pipelines.running import as_list
from bertie.tasks.text_encoder import is_pair


def texts_in(given: Any) -> list[Any]:
    """Return texts as str and pairs as tuples."""
    _refuse_str(given, "a list of texts")
    return [_text(one, place) for place, one in enumerate(_rows(given))]


def sequences_in(given: Any, name: str, item: str) -> list[list[str]]:
    """Return a list of str (words, or tags) per text."""
    _refuse_str(given, f"a list with a list of {item}s for each text")
    found = []
    for place, row in enumerate(as_list(given)):
        values = row.tolist() if hasattr(row, "tolist") else row
        if isinstance(values, str) or not isinstance(values, Sequence) or not all(isinstance(x, str) for x in values):
            raise InputTypeError(f"{name}[{place}] is {row!r:.60}; it must be a list of {item}s, each a str.")
        found.append(list(values))
    return found


def row_of(text: Any, label: Any) -> dict[str, Any]:
    """Return a text or pair with its label as `bertie.finetune` reads it."""
    columns = {"text": text} if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
    return {**columns, "label": label}


def _rows(given: Any) -> list[Any]:
    """Return the rows of a table of texts or pairs, from columns found by name, or else from its one or two columns."""
    if not is_frame(given):
        return as_list(given)
    names = list(columns_in(given))
    has_text_names = set(names) & {"text", "text_pair"}
    if not has_text_names and len(names) not in (1, 2):
        raise InputError(
            f"X is a table of {len(names)} columns; give one column of texts or two of pairs, or name them 'text' and "
            "'text_pair'."
        )
    return texts_of(given, TEXT_COLUMNS if has_text_names else [names])


def _text(one: Any, place: int) -> Any:
    if isinstance(one, list | tuple) and len(one) == 1:
        one = one[0]
    if isinstance(one, str):
        return str(one)
    if is_pair(one):
        return tuple(one)
    raise InputTypeError(f"X[{place}] is {one!r:.60} ({type(one).__name__}); it must be a str, or a pair of them.")


def _refuse_str(given: Any, wanted: str) -> None:
    if isinstance(given, str):
        raise InputTypeError(f"X is a single text, {given!r:.60}; give {wanted}.")
