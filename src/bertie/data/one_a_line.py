"""Forms with one record a line: plain lines, fastText's among them, and JSON lines."""

import json
from collections.abc import Iterator
from typing import Any

from bertie.data.annotations import plain_fields
from bertie.data.lines import Lines
from bertie.data.record import BadRows, Record
from bertie.data.squad import has_questions, question_records

# what fastText puts before each label, and the labels before the text
_LABEL = "__label__"


def plain_lines(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield each line, blank ones too, as the field ``text``; fastText's labels before it as the field ``label``."""
    del bad
    is_labelled = _LABEL in "".join(line.split(" ")[0] for line in lines.peek(1))
    if is_labelled:
        lines.notes.append(f"{lines.name} is read as fastText writes it: labels begin with {_LABEL}.")
    for line in lines:
        if lines.forget():
            text = line.rstrip("\r\n")
            yield Record(_labelled(text) if is_labelled else {"text": text}, f"{lines.name}, line {lines.number}")


def _labelled(text: str) -> dict[str, Any]:
    labels = []
    while text.startswith(_LABEL):
        label, _, text = text.partition(" ")
        labels.append(label.removeprefix(_LABEL))
        text = text.lstrip(" ,")
    return {"text": text, "label": labels[0] if len(labels) == 1 else labels}


def json_lines(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield the JSON object of each line that is not blank, annotated texts with their fields in plain form."""
    for line in lines:
        if not lines.forget() or not line.strip():
            continue
        try:
            fields = plain_fields(json.loads(line), lines.notes)
        except (ValueError, RecursionError) as error:
            bad.add(f"Line {lines.number} of {lines.name} is no JSON: {str(error)[:100]}.")
            continue
        if not isinstance(fields, dict):
            bad.add(f'Line {lines.number} of {lines.name} is no JSON object with named fields, as in {{"text": …}}.')
            continue
        if has_questions(fields):
            yield from question_records(fields, lines.number, lines.name, bad)
        else:
            yield Record(fields, f"{lines.name}, line {lines.number}")
