"""Rows that hold a part of an example, or several → one record an example: word tables, and passages of a query."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from bertie.data import BadRows, Record
from bertie.data.cells import is_nothing, list_in, name_in
from bertie.data.columns import find_columns
from bertie.data.roles import NEGATIVE, key
from bertie.errors import InputError, spelled

# names of the column that says which sentence a word is of
_NAMES = re.compile(r"(sent|sentence)(id|idx|no|number|num)?")
# what stands in it: 17, or Sentence: 17
_NUMBER = re.compile(r"\D*\d+")
_FEW = 20
_LEFT_OUT = "negatives that are not read, a positive passage being learned with one"
_POSITIVE = re.compile(r"pos(itive)?s?(passages?|texts?)?\d*")


def group_sentences(
    rows: Iterator[Record], columns: Mapping[str, Any] | None, bad: BadRows, notes: list[str]
) -> Iterator[Record]:
    """Yield records with words and tags as lists; those that have one word each are put together."""
    first = list(islice(rows, _FEW))
    given = dict(columns or {})
    column = given.pop("sentence", None)
    fields = [record.fields for record in first]
    if column is None and len(first) > 1 and _are_words(fields, given):
        column = next((name for name in fields[0] if _says_sentence(name, fields)), None)
        if column is None:
            how = spelled("columns", {"sentence": "…"})
            raise InputError(
                f"Each row has one word, from {first[0].where} on, and no column says which sentence it is of: {how} "
                "names it."
            )
        notes.append(f"Rows of one word each are put together by the column {column!r}.")
    rest = chain(first, rows)
    yield from rest if column is None or not fields or column not in fields[0] else _grouped(rest, column, bad)


def _are_words(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> bool:
    """Whether each row has one word and one tag."""
    try:
        found = find_columns("token-classification", rows, columns, needs_label=False).found
    except InputError:
        return False
    cells = [row.get(str(found.get(role))) for row in rows for role in ("words", "tags")]
    return "tags" in found and all(isinstance(cell, str) and " " not in cell.strip() for cell in cells)


def _says_sentence(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    cells = [row.get(column) for row in rows if not is_nothing(row.get(column))]
    is_numbered = bool(cells) and all(_NUMBER.fullmatch(str(name_in(cell))) for cell in cells)
    return is_numbered and _NAMES.fullmatch(key(column)) is not None


def _grouped(rows: Iterator[Record], column: str, bad: BadRows) -> Iterator[Record]:
    """Yield the sentences; where the column is empty, the one before goes on."""
    seen: set[Any] = set()
    sentence: list[Record] = []
    for record in rows:
        value = record.fields.get(column)
        begins = not sentence or (not is_nothing(value) and value != sentence[0].fields.get(column))
        if begins and value in seen:
            bad.add(f"The word in {record.where} is of the sentence {value!r}, whose words do not stand side by side.")
            continue
        if begins and sentence:
            yield _joined(sentence, column)
            sentence = []
        seen.add(value)
        sentence.append(record)
    if sentence:
        yield _joined(sentence, column)


def _joined(sentence: Sequence[Record], column: str) -> Record:
    """Return one record: each column is a list but that of the sentence."""
    first = sentence[0]
    fields = {name: [record.fields.get(name) for record in sentence] for name in first.fields}
    return Record({**fields, column: first.fields[column]}, first.where)


def split_passages(rows: Iterator[Record], task: str, notes: Counter[str]) -> Iterator[Record]:
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
