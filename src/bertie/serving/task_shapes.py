"""The bodies of bertie's own routes, for heads that other servers lack; answers have the pipelines' format."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from bertie.serving.refusals import VALIDATION, Refusal
from bertie.serving.service import Answers


class OwnRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A request to one of bertie's own routes; unknown fields are refused, as no existing client sends extra ones."""

    model: str | None = None


class TagRequest(OwnRequest, kw_only=True):
    """``inputs``: one text, several, or several lists of words."""

    inputs: str | list[str | list[str]]
    aggregation_strategy: Literal["none", "simple", "first", "average", "max"] | None = None
    ignore_labels: list[str] | None = None
    windows: bool = True


class EmbedSpansRequest(OwnRequest, kw_only=True):
    """``spans`` of the text ``inputs``: pairs (start, end) of character offsets, the end exclusive."""

    inputs: str
    spans: list[tuple[int, int]]
    normalize: bool = True
    dimensions: int | None = None
    prompt_name: str | None = None


class Question(Struct, forbid_unknown_fields=True):
    question: str
    context: str


class AnswerRequest(OwnRequest, kw_only=True):
    """One question with its context, or several as ``inputs``."""

    question: str | None = None
    context: str | None = None
    inputs: list[Question] | None = None
    top_k: int = 1
    handle_impossible_answer: bool | None = None
    max_answer_len: int | None = None

    def pairs(self) -> tuple[list[tuple[str, str]], bool]:
        """Return the questions with their contexts, and whether they came as a batch."""
        if self.inputs is not None:
            return [(one.question, one.context) for one in self.inputs], True
        if self.question is None or self.context is None:
            raise Refusal(VALIDATION, "Give `question` and `context`, or several of both as `inputs`.")
        return [(self.question, self.context)], False


class FillMaskRequest(OwnRequest, kw_only=True):
    inputs: str | list[str]
    top_k: int = 5
    targets: str | list[str] | None = None


class NextSentenceRequest(OwnRequest, kw_only=True):
    """``inputs``: one pair of texts, or several pairs."""

    inputs: list[str | list[str]]


class Prompt(Struct, forbid_unknown_fields=True):
    prompt: str
    choices: list[str]


class ChooseRequest(OwnRequest, kw_only=True):
    """One prompt with its choices, or several as ``inputs``."""

    prompt: str | None = None
    choices: list[str] | None = None
    inputs: list[Prompt] | None = None

    def prompts(self) -> tuple[list[tuple[str, list[str]]], bool]:
        """Return the prompts with their choices, and whether they came as a batch."""
        if self.inputs is not None:
            return [(one.prompt, one.choices) for one in self.inputs], True
        if self.prompt is None or self.choices is None:
            raise Refusal(VALIDATION, "Give `prompt` and `choices`, or several of both as `inputs`.")
        return [(self.prompt, self.choices)], False


class AttentionRequest(OwnRequest, kw_only=True):
    inputs: str
    layer: int = 0
    head: int = 0


def with_truncation(name: str, values: Sequence[Any], answers: Answers, batch: bool) -> Any:
    """Return each value under ``name`` beside the number of truncated tokens, as a list if the inputs were one."""
    found = [{name: value, "truncated": cut} for value, cut in zip(values, answers.truncated, strict=True)]
    return found if batch else found[0]


def lists_with_truncation(name: str, answers: Answers, batch: bool) -> Any:
    """As `with_truncation`, for tasks whose values are lists except where they hold one item."""
    lists = [value if isinstance(value, list) else [value] for value in answers.values]
    return with_truncation(name, lists, answers, batch)
