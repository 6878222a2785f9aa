"""Tables of one word a row → records of one sentence each."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from bertie.data import BadRows, Record
from bertie.data.cells import is_nothing, name_in
from bertie.data.columns import find_columns
from bertie.data.roles import key
from bertie.errors import InputError, spelled

# names of the column that says which sentence a word is of
_NAMES = re.compile(r"(sent|sentence)(id|idx|no|number|num)?")
# what stands in it: 17, or Sentence: 17
_NUMBER = re.compile(r"\D*\d+")
_FEW = 20


def in_sentences(
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
