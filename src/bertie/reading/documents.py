"""JSON files that are one document: SQuAD's layout, or a list of objects. They are read whole, as JSON must be."""

import json
from collections.abc import Iterator
from typing import Any

from bertie.errors import InputError
from bertie.reading.lines import Lines
from bertie.reading.one_a_line import json_lines
from bertie.reading.record import BadRows, Record


def json_records(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield one record a question of SQuAD 1.1 or 2.0, or each object of a list.

    A question has the fields ``id``, ``title``, ``question``, ``context``, ``answers`` and ``is_impossible``. A list
    may stand alone or as the field ``data``. A file of JSON lines is read as such, line by line.

    Raises:
        InputError: the document is no JSON, or has another layout.
    """
    first = next(lines, "")
    document = _parsed(first)
    if isinstance(document, dict) and "data" not in document:
        lines.put_back(0)
        yield from json_lines(lines, bad)
        return
    rest = "".join(_rest(lines))
    if document is None or rest.strip():
        document = _whole(first + rest, lines.name)
    for number, row in enumerate(_rows(document, lines.name)):
        if not isinstance(row, dict):
            bad.add(f"Item {number} of {lines.name} is a {type(row).__name__}, not an object with named fields.")
        elif "paragraphs" in row:
            yield from _questions(row, number, lines.name, bad)
        else:
            yield Record(row, f"{lines.name}, item {number}")


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


def _rows(document: Any, name: str) -> list[Any]:
    rows = document.get("data") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise InputError(f"{name} has neither SQuAD's layout (an object whose 'data' is a list) nor a list of objects.")
    return rows


def _questions(article: dict[str, Any], number: int, name: str, bad: BadRows) -> Iterator[Record]:
    title = article.get("title", "")
    for place, paragraph in enumerate(_list(article["paragraphs"])):
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if not isinstance(questions, list):
            bad.add(f"Paragraph {place} of article {number} in {name} is no object with a 'context' and a list 'qas'.")
            continue
        for count, question in enumerate(questions):
            if not isinstance(question, dict):
                kind = type(question).__name__
                bad.add(f"Question {count} of paragraph {place} of article {number} in {name} is a {kind}, no object.")
                continue
            # in a file of one line, the id is what can be searched for
            known = question.get("id", f"{count} of paragraph {place} of article {number}")
            yield Record({"title": title, "context": paragraph.get("context"), **question}, f"{name}, question {known}")


def _list(value: Any) -> list[Any]:
    # a paragraph that is none is named by the loop over them
    return value if isinstance(value, list) else [value]
