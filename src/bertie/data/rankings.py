"""Queries with positive and negative passages in one row → a row each, as reranking and embedding learn them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bertie.data import Record
from bertie.data.cells import is_nothing, list_in
from bertie.data.roles import NEGATIVE, key

_LEFT_OUT = "negatives that are not read, a positive passage being learned with one"
_POSITIVE = re.compile(r"pos(itive)?s?(passages?|texts?)?\d*")


def apart(rows: Iterator[Record], task: str, notes: Counter[str]) -> Iterator[Record]:
    """Yield records of one passage each for reranking, and of one positive (and negative) each for embedding.

    Columns such as ``pos`` and ``neg`` hold a passage or a list of them. Other records stay as they are. ``notes``
    counts negatives that are not read.
    """
    for record in rows:
        good = [name for name in record.fields if _POSITIVE.fullmatch(key(name))]
        poor = [name for name in record.fields if NEGATIVE.fullmatch(key(name))]
        if task == "reranking" and good:
            yield from _labelled(record, good, poor)
        elif task == "embedding" and any(isinstance(record.fields[name], list) for name in (*good, *poor)):
            yield from _paired(record, good, poor, notes)
        else:
            yield record


def _labelled(record: Record, good: list[str], poor: list[str]) -> Iterator[Record]:
    """Yield each passage with the label 1 or 0."""
    rest = {name: value for name, value in record.fields.items() if name not in (*good, *poor)}
    for label, columns in ((1, good), (0, poor)):
        for passage in _passages(record.fields, columns):
            yield Record({**rest, "passage": passage, "label": label}, record.where)


def _paired(record: Record, good: list[str], poor: list[str], notes: Counter[str]) -> Iterator[Record]:
    """Yield each positive with one negative, in turn."""
    rest = {name: value for name, value in record.fields.items() if name not in (*good, *poor)}
    positives, negatives = _passages(record.fields, good), _passages(record.fields, poor)
    notes[_LEFT_OUT] += max(len(negatives) - len(positives), 0)
    for number, positive in enumerate(positives):
        negative = {"negative": negatives[number % len(negatives)]} if negatives else {}
        yield Record({**rest, "positive": positive, **negative}, record.where)


def _passages(fields: Mapping[str, Any], columns: list[str]) -> list[Any]:
    """Return the passages of columns; one may be a mapping with a text, and a title before it."""
    listed = [list_in(fields[column]) for column in columns]
    cells = [one for column, items in zip(columns, listed, strict=True) for one in items or [fields[column]]]
    return [_text(one) for one in cells if not is_nothing(one) and one != []]


def _text(passage: Any) -> Any:
    if not isinstance(passage, Mapping):
        return passage
    return " ".join(part for part in (passage.get("title"), passage.get("text")) if part)
