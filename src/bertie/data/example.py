"""One row of labelled data, in the form that every task of its kind learns from and is scored on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One input of a task with its label.

    A text is, by task: a str; a pair ``(str, str)``; for words, a ``list[str]``; for questions ``{"question",
    "context", "id"}``; for choices ``{"prompt", "choices"}``; for embeddings a pair or ``(anchor, positive,
    negative)``. A label is a class name (str); class names (``list[str]``, multi-label); a number (float: regression,
    similarity, relevance); one tag a word (``list[str]``); for questions ``{"answers": [{"text", "answer_start"},
    …]}``, an empty list if there is no answer; an int (the right choice from 0; next sentence: 0 if it follows); the
    right targets of a source (``tuple[str, ...]``), of which the first is learned.
    """

    text: Any
    label: Any = None
    where: str = ""  # "train.csv, line 17", for messages
    fields: Mapping[str, Any] | None = None  # the row that it was made of, where that is kept
