"""JSON documents (SQuAD's layout, or a list of objects), JSON lines, and plain lines, also of fastText."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bertie.data.annotations import is_spacy_document, plain_fields, spacy_sentences
from bertie.data.lines import Lines
from bertie.data.record import BadRows, Record
from bertie.errors import InputError

# the fields of an object that annotation tools for spaCy write
_SPACY_EXPORT = {"classes", "annotations"}
# fastText's prefix of each label; labels precede the text
_LABEL = "__label__"


def plain_lines(lines: Lines) -> Iterator[Record]:
    """Yield each line, also blank ones, as the field ``text``, and fastText's labels before it as ``label``."""
    is_labelled = _LABEL in "".join(line.split(" ")[0] for line in lines.peek(1))
    if is_labelled:
        lines.notes.append(f"{lines.name} is read as a fastText file: labels begin with {_LABEL}.")
    for line in lines.rows():
        text = line.rstrip("\r\n")
        yield lines.record(_labelled(text) if is_labelled else {"text": text})


def _labelled(text: str) -> dict[str, Any]:
    labels = []
    while text.startswith(_LABEL):
        label, _, text = text.partition(" ")
        labels.append(label.removeprefix(_LABEL))
        text = text.lstrip(" ,")
    return {"text": text, "label": labels[0] if len(labels) == 1 else labels}


def json_lines(lines: Lines) -> Iterator[Record]:
    """Yield the JSON object of each non-blank line; those of annotation tools as plain fields."""
    for line in filter(str.strip, lines.rows()):
        try:
            fields = plain_fields(json.loads(line), lines.notes)
        except (ValueError, RecursionError) as error:
            lines.refuse(f"is not JSON: {str(error)[:100]}.")
            continue
        if isinstance(fields, dict):
            yield from _of_object(fields, lines.record(fields).where, lines.number, lines)
        else:
            lines.refuse('is not a JSON object with named fields, as in {"text": …}.')


def json_records(lines: Lines) -> Iterator[Record]:
    """Yield one record per question of SQuAD 1.1 or 2.0, or each object of a list, itself or as the field ``data``.

    Objects with ``context`` and ``qas`` may be items of the list themselves. JSON lines are read line by line.
    """
    first = next(lines, "")
    document = _parsed(first)
    is_spacy_export = isinstance(document, dict) and set(document) >= _SPACY_EXPORT
    # a Label Studio task, whose data is an object, is one row
    if isinstance(document, dict) and not is_spacy_export and isinstance(document.get("data", {}), dict):
        lines.put_back(0)
        yield from json_lines(lines)
        return
    rest = "".join(_rest(lines))
    if document is None or rest.strip():
        try:
            document = json.loads(first + rest)
        except (ValueError, RecursionError) as error:
            why = str(error)[:100]
            raise InputError(f"{lines.name} is not JSON: {why}; JSON lines belong in a .jsonl file.") from error
    if isinstance(document, dict):
        document = document.get("annotations" if set(document) >= _SPACY_EXPORT else "data")
    if not isinstance(document, list):
        raise InputError(
            f"{lines.name} has neither SQuAD's layout (an object whose 'data' is a list) nor a list of objects."
        )
    for number, item in enumerate(document):
        fields = plain_fields(item, lines.notes)
        if isinstance(fields, dict):
            yield from _of_object(fields, f"{lines.name}, item {number}", number, lines)
        else:
            kind = type(fields).__name__
            lines.bad.add(f"Item {number} of {lines.name} is a {kind}, not an object with named fields.")


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


def _of_object(fields: Mapping[str, Any], where: str, number: int, lines: Lines) -> Iterator[Record]:
    """Yield the records of an object: its sentences, its questions, or the object itself."""
    if is_spacy_document(fields):
        yield from (Record(sentence, where) for sentence in spacy_sentences(fields))
    elif "paragraphs" in fields or ("context" in fields and isinstance(fields.get("qas"), list)):
        yield from _questions(fields, number, lines.name, lines.bad)
    else:
        yield Record(fields, where)


def _questions(article: Mapping[str, Any], number: int, name: str, bad: BadRows) -> Iterator[Record]:
    """Yield the questions of an article or a single paragraph; ``number`` and ``name`` are for messages."""
    title = article.get("title", "")
    paragraphs = article.get("paragraphs", article)
    # invalid paragraphs are refused in the loop
    for place, paragraph in enumerate(paragraphs if isinstance(paragraphs, list) else [paragraphs]):
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if not isinstance(questions, list):
            where = f"Paragraph {place} of article {number} in {name}"
            bad.add(f"{where} is not an object with a 'context' and a list 'qas'.")
            continue
        for count, question in enumerate(questions):
            at = f"{count} of paragraph {place} of article {number}"
            if isinstance(question, dict):
                # in a file of one line, an id can be searched for
                where = f"{name}, question {question.get('id', at)}"
                yield Record({"title": title, "context": paragraph.get("context"), **question}, where)
            else:
                bad.add(f"Question {at} in {name} is a {type(question).__name__}, not an object.")
