"""One row → one example, for each task but those of `answers`. A row that cannot be used is a `BadRow`."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bertie.data import Record
from bertie.data.answer_parsers import choice_example, question_example
from bertie.data.cells import (
    BadRow,
    cell,
    flag_in,
    has_content,
    is_nothing,
    list_in,
    name_in,
    number_in,
    shown,
    text_in,
)
from bertie.data.entity_spans import are_spans, tagged_words
from bertie.data.example import Example
from bertie.data.roles import Found
from bertie.errors import counted, plural

Reader = Callable[[Record, Found, bool, Counter[str]], Example]
"""Record, columns, whether a label is needed, what is counted for a warning → example."""


def _text_or_pair(record: Record, found: Found) -> Any:
    first = text_in(cell(record.fields, found["text"]), "text", record.where)
    if "text_pair" not in found:
        return first
    return first, text_in(cell(record.fields, found["text_pair"]), "second text", record.where)


def _classified(record: Record, found: Found, needs_label: bool, notes: Counter[str]) -> Example:
    del notes
    text = _text_or_pair(record, found)
    column = found.get("label")
    if isinstance(column, list):
        return Example(text, _flags(record, column, needs_label), record.where)
    label = _names(record.fields.get(column)) if column else None
    if label is None and needs_label:
        hint = "; where a text may have several labels, [] stands for none" if str(column).lower() == "labels" else ""
        raise BadRow(f"There is no label in {record.where}{hint}.")
    return Example(text, label, record.where)


def _names(value: Any) -> str | list[str] | None:
    """Return the label as one name or a list of them; what they mean is settled when all are known (`labels`)."""
    items = list_in(value)
    return name_in(value) if items is None else [name for item in items if (name := name_in(item)) is not None]


def _flags(record: Record, columns: list[str], needs_label: bool) -> list[str] | None:
    """Return "1" or "0" for each column."""
    flags = []
    for column in columns:
        value = record.fields.get(column)
        if is_nothing(value) and not needs_label:
            return None
        flag = flag_in(value)
        if flag is None:
            raise BadRow(f"The label {column!r} in {record.where} is {shown(value)}, not 0 or 1.")
        flags.append(str(int(flag)))
    return flags


def _tagged(record: Record, found: Found, needs_label: bool, notes: Counter[str]) -> Example:
    where, text = record.where, record.fields.get(_one(found, "words"))
    tags = record.fields.get(_one(found, "tags")) if "tags" in found else None
    spans = list_in(tags)
    if isinstance(text, str) and spans is not None and are_spans(spans):
        words, named = tagged_words(text_in(text, "text", where), spans, where, notes)
        return Example(words, named, where)
    words = _words(list_in(text, gap=" "), where)
    return Example(words, _tags(list_in(tags, gap=" "), words, needs_label, where), where)


def _words(words: list[Any] | None, where: str) -> list[str]:
    if not words:
        raise BadRow(f"There are no words in {where}.")
    for place, word in enumerate(words):
        if not isinstance(word, str) or not has_content(word):
            raise BadRow(f"Word {place} of {len(words)} in {where} is {shown(word)}, which has nothing to read.")
    return words


def _tags(tags: list[Any] | None, words: Sequence[str], needs_label: bool, where: str) -> list[str] | None:
    if tags is None:
        if needs_label:
            raise BadRow(f"There are no tags in {where}.")
        return None
    if len(tags) != len(words):
        raise BadRow(
            f"There {plural(len(words), 'is', 'are')} {counted(len(words), 'word')} and "
            f"{counted(len(tags), 'tag')} in {where}; each word has one tag."
        )
    named = [name for tag in tags if (name := name_in(tag)) is not None]
    if len(named) < len(tags):
        place = list(map(name_in, tags)).index(None)
        raise BadRow(f"Word {place} of {len(words)} in {where}, {shown(words[place])}, has no tag.")
    return named


def _followed(record: Record, found: Found, needs_label: bool, notes: Counter[str]) -> Example:
    del notes
    text = _text_or_pair(record, found)
    follows = "is_next" in found
    column = found.get("is_next", found.get("label"))
    value = record.fields.get(column) if isinstance(column, str) else None
    if is_nothing(value) and not needs_label:
        return Example(text, None, record.where)
    # the reference's label 0 says that the second follows the first; a column is_next says so by 1
    meanings = {"1": 0, "true": 0, "0": 1, "false": 1} if follows else {"0": 0, "1": 1}
    meanings |= {"isnext": 0, "notnext": 1}
    label = meanings.get(str(name_in(value)).lower())
    if label is None:
        allowed = "1 (follows) or 0" if follows else "0 (follows) or 1 (does not)"
        raise BadRow(f"The label in {record.where} is {shown(value)}; it must be {allowed}.")
    return Example(text, label, record.where)


def _plain(record: Record, found: Found, needs_label: bool, notes: Counter[str]) -> Example:
    del needs_label, notes
    return Example(_text_or_pair(record, found), None, record.where)


def _embedded(record: Record, found: Found, needs_label: bool, notes: Counter[str]) -> Example:
    del needs_label, notes
    fields, where = record.fields, record.where
    if "positive" in found:
        roles = [role for role in ("anchor", "positive", "negative") if role in found]
        text = tuple(text_in(cell(fields, found[role]), role, where) for role in roles)
    else:
        text = _text_or_pair(record, found)
    if "label" not in found:
        return Example(text, None, where)
    return Example(text, _score(fields, found, where), where)


def _ranked(record: Record, found: Found, needs_label: bool, notes: Counter[str]) -> Example:
    del notes
    pair = tuple(text_in(cell(record.fields, found[role]), role, record.where) for role in ("query", "passage"))
    column = found.get("label")
    if not needs_label and (column is None or is_nothing(record.fields.get(str(column)))):
        return Example(pair, None, record.where)
    return Example(pair, _score(record.fields, found, record.where), record.where)


def _score(fields: Mapping[str, Any], found: Found, where: str) -> float:
    value = fields.get(_one(found, "label"))
    if is_nothing(value):
        raise BadRow(f"There is no label in {where}.")
    return number_in(value, "label", where)


def _one(found: Found, role: str) -> str:
    column = found[role]
    assert isinstance(column, str), role
    return column


READERS: dict[str, Reader] = {
    "sequence-classification": _classified,
    "token-classification": _tagged,
    "question-answering": question_example,
    "multiple-choice": choice_example,
    "next-sentence": _followed,
    "masked-lm": _plain,
    "embedding": _embedded,
    "reranking": _ranked,
}
