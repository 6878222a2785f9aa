"""Rows of question answering: a question, its context, and answers that are checked against the context."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bertie.data.cells import is_nothing, list_in, name_in, number_or_none, shown, text_in
from bertie.data.example import Example
from bertie.data.labelling import Labelling
from bertie.data.record import BadRow
from bertie.data.schema import Role, Row, Schema
from bertie.errors import counted, plural

# the maximum distance, in characters, between an answer and its answer_start, which is often off by one or two
_MAX_DISTANCE = 5
_MOVED = "Answers that were found a few characters from their answer_start"
_PLACED = "Answers without answer_start that occur several times in their context; the first occurrence was taken"


class QuestionAnsweringSchema(Schema):
    """Answers have their correct positions in the context; an unanswerable question has an empty list of them."""

    name = "question-answering"
    roles = (
        Role("question", ("question", "query"), needed=True, is_text=True),
        Role("context", ("context", "passage paragraph document text"), needed=True, is_text=True),
        # in SQuAD 2.0, rows of unanswerable questions may lack the field of answers
        Role("is_impossible", ("isimpossible",)),
        Role("answers", ("answers",), needed=True, is_label=True, spared_by=("answer_text", "is_impossible")),
        Role("answer_text", ("answertext answertexts", "answer")),
        Role("answer_start", ("answerstart answerstarts", "start startposition")),
        Role("id", ("id", "qid questionid guid idx index")),
    )
    unit = "context"

    def parse(self, row: Row) -> Example:
        question, context = row.text("question"), row.text("context")
        text = {"question": question, "context": context, "id": name_in(row.cell("id")) or row.where}
        given = _answers(row)
        if given is None:
            if row.needs_label:
                raise BadRow(f"There are no answers in {row.where}; a question without one has an empty list.")
            return row.example(text)
        return row.example(text, {"answers": [_checked(*answer, context, row) for answer in given]})

    def find_oddities(self, examples: Sequence[Example], labelling: Labelling, name: str) -> list[str]:
        """Return a sentence if questions share their ids."""
        count = len(examples) - len({example.text["id"] for example in examples})
        if not count:
            return []
        others = plural(count, "is that of another question", "are those of other questions")
        return [f"{count:,} of {len(examples):,} ids of {name} {others} in it."]


def _answers(row: Row) -> list[tuple[str, Any]] | None:
    """Return the text and start of each answer; None if the row says nothing about answers."""
    if str(row.cell("is_impossible")).lower() in ("true", "1"):
        return []
    is_listed = "answers" in row.found
    texts = row.cell("answers" if is_listed else "answer_text")
    if is_listed and (not isinstance(texts, str) or texts.lstrip().startswith(("[", "{"))):
        return _listed(texts, row.where)
    if is_nothing(texts):
        return []
    starts = row.cell("answer_start")
    return _paired(list_in(texts) or [texts], None if is_nothing(starts) else list_in(starts) or [starts], row.where)


def _listed(value: Any, where: str) -> list[tuple[str, Any]] | None:
    """Read ``[{"text", "answer_start"}, …]`` as in SQuAD, or ``{"text": […], "answer_start": […]}`` as in datasets."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadRow(f"The answers in {where} are {shown(value)}, which is not JSON.") from error
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


def _checked(text: Any, start: Any, context: str, row: Row) -> dict[str, Any]:
    """Return the answer with its position in the context."""
    text = text_in(text, "answer", row.where)
    num_spaces = len(text) - len(text.lstrip())
    text = text.strip()
    first = context.find(text)
    if start is None:
        row.notes[_PLACED] += context.count(text) > 1
        position = first
    else:
        number = number_or_none(start)
        if number is None or not number.is_integer():
            raise BadRow(f"The answer_start in {row.where} is {shown(start)}, not a number of characters.")
        position = _nearest(text, int(number) + num_spaces, context)
        row.notes[_MOVED] += position not in (-1, int(number) + num_spaces)
    if first < 0:
        raise BadRow(f"The answer {shown(text)} does not occur in its context in {row.where}.")
    if position < 0:
        raise BadRow(
            f"The answer {shown(text)} is at character {first} of its context, not at {start}, in {row.where}."
        )
    return {"text": text, "answer_start": position}


def _nearest(text: str, start: int, context: str) -> int:
    """Return the occurrence of ``text`` nearest to ``start``, within `_MAX_DISTANCE`, or -1."""
    for distance in range(_MAX_DISTANCE + 1):
        for position in (start - distance, start + distance):
            if position >= 0 and context.startswith(text, position):
                return position
    return -1
