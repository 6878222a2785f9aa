"""Rows of question answering and of multiple choice → examples, with answers checked against their contexts."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertie.data import Record
from bertie.data.cells import BadRow, cell, is_nothing, list_in, name_in, number_or_none, shown, text_in
from bertie.data.example import Example
from bertie.data.roles import Found
from bertie.errors import counted, plural, spelled

REACH = 5
"""How far from its ``answer_start`` an answer is looked for: counts of characters go wrong by one or two."""

MOVED = "Answers that stood a few characters from their answer_start, and were found"
PLACED = "Answers without answer_start that stand several times in their context; the first place was taken"


def question_example(record: Record, found: Found, needs_label: bool, notes: Counter[str]) -> Example:
    """Return the example of a question; the answers' places are right, or the row is bad."""
    fields, where = record.fields, record.where
    question = text_in(cell(fields, found["question"]), "question", where)
    context = text_in(cell(fields, found["context"]), "context", where)
    name = name_in(fields.get(str(found.get("id")))) or where
    given = _answers(fields, found, where)
    if given is None and needs_label:
        raise BadRow(f"There are no answers in {where}; a question without one has an empty list.")
    answers = None if given is None else {"answers": [_checked(*answer, context, where, notes) for answer in given]}
    return Example({"question": question, "context": context, "id": name}, answers, where)


def _answers(fields: Mapping[str, Any], found: Found, where: str) -> list[tuple[str, Any]] | None:
    """Return text and start of each answer, None where nothing is said about answers."""
    if str(cell(fields, found.get("is_impossible"))).lower() in ("true", "1"):
        return []
    texts = fields.get(str(found.get("answers", found.get("answer_text"))))
    if "answers" in found and (not isinstance(texts, str) or texts.lstrip().startswith(("[", "{"))):
        return _listed(texts, where)
    if is_nothing(texts):
        return []
    starts = fields.get(str(found.get("answer_start")))
    return _paired(list_in(texts) or [texts], None if is_nothing(starts) else list_in(starts) or [starts], where)


def _listed(value: Any, where: str) -> list[tuple[str, Any]] | None:
    """Read ``[{"text", "answer_start"}, …]`` as in SQuAD, or ``{"text": […], "answer_start": […]}`` as in datasets."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadRow(f"The answers in {where} are {shown(value)}, which is no JSON.") from error
    if isinstance(value, Mapping):
        starts = value.get("answer_start")
        return _paired(list_in(value.get("text")) or [], None if starts is None else list_in(starts), where)
    if isinstance(value, list):
        if not all(isinstance(one, Mapping) and "text" in one for one in value):
            raise BadRow(f"An answer in {where} has no 'text'; each has 'text' and 'answer_start'.")
        return [(one["text"], one.get("answer_start")) for one in value]
    return None


def _paired(texts: list[Any], starts: list[Any] | None, where: str) -> list[tuple[str, Any]]:
    if starts is not None and len(starts) != len(texts):
        raise BadRow(
            f"There {plural(len(texts), 'is', 'are')} {counted(len(texts), 'answer')} and "
            f"{len(starts)} answer_start in {where}; each answer has one."
        )
    return list(zip(texts, starts or [None] * len(texts), strict=True))


def _checked(text: Any, start: Any, context: str, where: str, notes: Counter[str]) -> dict[str, Any]:
    """Return the answer with the place where it stands."""
    text = text_in(text, "answer", where)
    blanks = len(text) - len(text.lstrip())
    text = text.strip()
    if start is None:
        notes[PLACED] += context.count(text) > 1
        place = context.find(text)
    else:
        number = number_or_none(start)
        if number is None or not number.is_integer():
            raise BadRow(f"The answer_start in {where} is {shown(start)}, not a number of characters.")
        place = _near(text, int(number) + blanks, context)
        notes[MOVED] += place not in (-1, int(number) + blanks)
    if place < 0:
        raise BadRow(_misplaced(text, start, context, where))
    return {"text": text, "answer_start": place}


def _near(text: str, start: int, context: str) -> int:
    """Return where ``text`` stands nearest to ``start``, at most `REACH` from it; -1 if nowhere there."""
    for distance in range(REACH + 1):
        for place in (start - distance, start + distance):
            if place >= 0 and context.startswith(text, place):
                return place
    return -1


def _misplaced(text: str, start: Any, context: str, where: str) -> str:
    elsewhere = context.find(text)
    if start is None or elsewhere < 0:
        return f"The answer {shown(text)} does not stand in its context in {where}."
    return f"The answer {shown(text)} stands at character {elsewhere} of its context, not at {start}, in {where}."


def choice_example(record: Record, found: Found, needs_label: bool, notes: Counter[str]) -> Example:
    """Return the example of a multiple choice: a prompt, two or more texts, and the number of the right one."""
    del notes
    fields, where = record.fields, record.where
    prompt = text_in(cell(fields, found["prompt"]), "prompt", where)
    choices, names = _choices(fields, found["choices"], where)
    if "prompt_end" in found:
        # as in SWAG: the beginning of a sentence that each choice ends
        beginning = text_in(cell(fields, found["prompt_end"]), "second part of the prompt", where)
        texts = [f"{beginning} {choice}" for choice in choices]
    else:
        texts = choices
    value = fields.get(str(found.get("label")))
    if is_nothing(value):
        if needs_label:
            raise BadRow(f"There is no label in {where}.")
        label = None
    else:
        label = WrittenChoice(value, choices, names)
    return Example({"prompt": prompt, "choices": texts}, label, where)


def _choices(fields: Mapping[str, Any], column: str | list[str], where: str) -> tuple[list[str], list[str]]:
    """Return the texts of the choices and what a label may call them."""
    value = [fields.get(one) for one in column] if isinstance(column, list) else fields.get(column)
    names = None
    if isinstance(value, Mapping):
        names, value = list_in(value.get("label")), value.get("text")
    texts = list_in(value) or []
    while texts and isinstance(column, list) and is_nothing(texts[-1]):
        texts.pop()
    if len(texts) < 2:
        raise BadRow(
            f"There {plural(len(texts), 'is', 'are')} {counted(len(texts), 'choice')} in {where}; "
            "at least two are needed."
        )
    choices = [text_in(text, f"choice {number}", where) for number, text in enumerate(texts)]
    return choices, [str(name) for name in names or []] or [chr(ord("A") + number) for number in range(len(choices))]


@dataclass(frozen=True)
class WrittenChoice:
    """The label of a multiple choice as it is written, and what it may mean: a number, a letter, or a choice's text."""

    value: Any
    choices: Sequence[str]
    names: Sequence[str]

    @property
    def counted(self) -> int | None:
        """The number that is written, if choices are counted; None for a letter, a text or a name."""
        name = str(name_in(self.value))
        return int(name) if name.isdecimal() and not self.names[0].isdigit() else None

    def number(self, first: int, where: str) -> int:
        """Return the number, from 0, of the choice that is meant.

        Args:
            first: the number that labels give the first choice.
            where: the row's place.

        Raises:
            BadRow: none is meant, or several may be.
        """
        name, count = str(name_in(self.value)), len(self.choices)
        meant = {self.counted - first} & set(range(count)) if self.counted is not None else set()
        meant |= {number for number, other in enumerate(self.names) if name.upper() == other.upper()}
        if not isinstance(self.value, int):
            meant |= {number for number, choice in enumerate(self.choices) if name == choice.strip()}
        if len(meant) == 1:
            return meant.pop()
        if meant:
            raise BadRow(f"The label {shown(self.value)} in {where} may mean several choices; give the letter of one.")
        hint = f" ({spelled('first_choice', 1)} counts from 1)" if not first and self.counted == count else ""
        raise BadRow(
            f"The label {shown(self.value)} in {where} is none of its {count} choices; it must be a number from "
            f"{first} to {first + count - 1}{hint}, a letter from {self.names[0]} to {self.names[-1]}, or a choice's "
            "text."
        )


def first_choice(labels: Iterable[WrittenChoice]) -> int:
    """Return 1 if choices seem to be counted from 1: no label is 0, and some are the number of choices; else 0."""
    counted = [(label.counted, len(label.choices)) for label in labels if label.counted is not None]
    return int(all(number for number, _ in counted) and any(number == count for number, count in counted))
