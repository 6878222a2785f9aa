"""JSON files that are one document: SQuAD's layout, or a list of rows. They are read whole, as JSON must be."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bertie.data.annotations import is_spacy_document, plain_fields, spacy_sentences
from bertie.data.lines import Lines
from bertie.data.one_a_line import json_lines
from bertie.data.record import BadRows, Record
from bertie.data.squad import has_questions, question_records
from bertie.errors import InputError

# the fields of an object of spaCy's pairs, as annotation tools for it write them
_LISTED_BY_CLASSES = {"classes", "annotations"}


def json_records(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield one record a question of SQuAD 1.1 or 2.0, or each object of a list.

    A question has the fields ``id``, ``title``, ``question``, ``context``, ``answers`` and ``is_impossible``; objects
    with ``context`` and ``qas`` may also be the list's own items. A list may stand alone or as the field ``data``.
    Annotated texts have the fields of `annotations`. A file of JSON lines is read as such, line by line.

    Raises:
        InputError: the document is no JSON, or has another layout.
    """
    first = next(lines, "")
    document = _parsed(first)
    if isinstance(document, dict) and not _is_whole(document):
        lines.put_back(0)
        yield from json_lines(lines, bad)
        return
    rest = "".join(_rest(lines))
    if document is None or rest.strip():
        document = _whole(first + rest, lines.name)
    for number, item in enumerate(_rows(document, lines.name)):
        row, where = plain_fields(item, lines.notes), f"{lines.name}, item {number}"
        if not isinstance(row, Mapping):
            bad.add(f"Item {number} of {lines.name} is a {type(row).__name__}, not an object with named fields.")
        elif is_spacy_document(row):
            yield from (Record(fields, where) for fields in spacy_sentences(row))
        elif has_questions(row):
            yield from question_records(row, number, lines.name, bad)
        else:
            yield Record(row, where)


def _rest(lines: Lines) -> Iterator[str]:
    lines.forget()
    for line in lines:
        lines.forget()
        yield line


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _whole(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is no JSON: {str(error)[:100]}; JSON lines belong in a .jsonl file.") from error


def _is_whole(document: Mapping[str, Any]) -> bool:
    """Whether an object is a document, not a row of its own: a task of Label Studio has an object as its data."""
    return set(document) >= _LISTED_BY_CLASSES or not isinstance(document.get("data", {}), dict)


def _rows(document: Any, name: str) -> list[Any]:
    rows = document
    if isinstance(document, dict):
        rows = document["annotations" if set(document) >= _LISTED_BY_CLASSES else "data"]
    if not isinstance(rows, list):
        raise InputError(f"{name} has neither SQuAD's layout (an object whose 'data' is a list) nor a list of objects.")
    return rows
