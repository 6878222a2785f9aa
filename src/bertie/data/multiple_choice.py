"""Rows of multiple choice: a prompt, two or more choices, and the right one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertie.data.cells import is_nothing, list_in, name_in, shown, text_in
from bertie.data.example import Example
from bertie.data.labelling import Labelling, LabelOptions, Notes
from bertie.data.record import BadRow
from bertie.data.schema import Cells, Columns, Role, Row, Schema
from bertie.errors import counted, plural, spelled

_NUMBERED = re.compile(r"(?:choice|ending|option|answer)_?(\d+|[a-e])")


def _numbered(cells: Cells) -> list[str] | None:
    matches = ((_NUMBERED.fullmatch(name.strip().lower()), name) for name in cells)
    return [name for _, name in sorted((match[1].zfill(3), name) for match, name in matches if match)] or None


class MultipleChoiceSchema(Schema):
    """A label is a number, a letter, or the text of a choice."""

    name = "multiple-choice"
    roles = (
        Role("choices", ("choices", "options endings"), needed=True),
        Role(
            "prompt",
            ("prompt", "sent1 context passage article", "question ctx startphrase premise sentence stem text"),
            needed=True,
            is_text=True,
        ),
        Role("prompt_end", ("sent2", "question"), is_text=True),
        Role("label", ("label", "answer answerkey correct gold target"), needed=True, is_label=True),
    )
    guesses = (("choices", _numbered, ""),)

    def parse(self, row: Row) -> Example:
        prompt = row.text("prompt")
        choices, names = _choices(row)
        texts = choices
        if "prompt_end" in row.found:
            # as in SWAG: the beginning of a sentence that each choice completes
            beginning = row.text("prompt_end", "second part of the prompt")
            texts = [f"{beginning} {choice}" for choice in choices]
        text = {"prompt": prompt, "choices": texts}
        value = row.cell("label")
        if not is_nothing(value):
            return row.example(text, WrittenChoice(value, choices, names))
        if row.needs_label:
            raise BadRow(f"There is no label in {row.where}.")
        return row.example(text)

    def find_labelling(self, labels: Sequence[Any], options: LabelOptions, columns: Columns) -> "ChoiceLabels":
        """Return how choices are numbered: from 1 if no label is 0, and some equal the number of choices."""
        if options.first_choice is not None:
            return ChoiceLabels(first=options.first_choice)
        numbers = [(label.written_number, len(label.choices)) for label in labels if label.written_number is not None]
        from_1 = all(number for number, _ in numbers) and any(number == count for number, count in numbers)
        return ChoiceLabels(first=int(from_1), is_guess=from_1)


def _choices(row: Row) -> tuple[list[str], list[str]]:
    column, fields = row.found["choices"], row.record.fields
    value = [fields.get(one) for one in column] if isinstance(column, list) else fields.get(column)
    names = None
    if isinstance(value, Mapping):
        names, value = list_in(value.get("label")), value.get("text")
    texts = list_in(value) or []
    while texts and isinstance(column, list) and is_nothing(texts[-1]):
        texts.pop()
    if len(texts) < 2:
        raise BadRow(
            f"There {plural(len(texts), 'is', 'are')} {counted(len(texts), 'choice')} in {row.where}; "
            "at least two are needed."
        )
    choices = [text_in(text, f"choice {number}", row.where) for number, text in enumerate(texts)]
    return choices, [str(name) for name in names or []] or [chr(ord("A") + number) for number in range(len(choices))]


@dataclass(frozen=True)
class WrittenChoice:
    """The label of a multiple choice as written, which may be a number, a letter, or the text of a choice."""

    value: Any
    choices: Sequence[str]
    names: Sequence[str]

    @property
    def written_number(self) -> int | None:
        """The label as a number; None if it is a letter, a text or the name of a choice."""
        name = str(name_in(self.value))
        return int(name) if name.isdecimal() and not self.names[0].isdigit() else None

    def number(self, first: int, where: str) -> int:
        """Return the number of the right choice, from 0; ``first`` is the label of the first one."""
        name, count = str(name_in(self.value)), len(self.choices)
        meant = {self.written_number - first} & set(range(count)) if self.written_number is not None else set()
        meant |= {number for number, other in enumerate(self.names) if name.upper() == other.upper()}
        if not isinstance(self.value, int):
            meant |= {number for number, choice in enumerate(self.choices) if name == choice.strip()}
        if len(meant) == 1:
            return meant.pop()
        if meant:
            raise BadRow(f"The label {shown(self.value)} in {where} may mean several choices; give the letter of one.")
        hint = f" ({spelled('first_choice', 1)} counts from 1)" if not first and self.written_number == count else ""
        raise BadRow(
            f"The label {shown(self.value)} in {where} is none of its {count} choices; it must be a number from "
            f"{first} to {first + count - 1}{hint}, a letter from {self.names[0]} to {self.names[-1]}, or a choice's "
            "text."
        )


@dataclass(frozen=True, kw_only=True)
class ChoiceLabels(Labelling):
    """The number of the right choice, counting from ``first``, its letter or its text."""

    first: int = 0
    is_guess: bool = False

    def normalize(self, raw: WrittenChoice, where: str, name: str, notes: Notes) -> int:
        return raw.number(self.first, where)

    def describe(self, classes: Sequence[str]) -> list[str]:
        why = " (no label is 0, and some equal the number of choices)" if self.is_guess else ""
        return [f"choices counted from {self.first}{why}"]
