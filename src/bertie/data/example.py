"""One row of labelled data, in the form in which a task is trained and evaluated on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One input of a task with its label.

    A text is, depending on the task: a str; a pair ``(str, str)``; for tagging a ``list[str]`` of words; for questions
    ``{"question", "context", "id"}``; for multiple choice ``{"prompt", "choices"}``; for embeddings a pair or
    ``(anchor, positive, negative)``. A label is a class name (str); class names (``list[str]``, multi-label); a number
    (float: regression, similarity, relevance); one tag per word (``list[str]``); for questions ``{"answers": [{"text",
    "answer_start"}, …]}``, with an empty list if there is no answer; an int (the right choice from 0; next sentence: 0
    if it follows); the reference targets of a source (``tuple[str, ...]``), the first of which is trained on.
    """

    text: Any
    label: Any = None
    where: str = ""  # "train.csv, line 17", for messages
    fields: Mapping[str, Any] | None = None  # the row it was made of, if kept
