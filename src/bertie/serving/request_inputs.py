"""The inputs of requests (texts, pairs, prompts, or token ids): counted, checked and turned into features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertie.errors import InputError
from bertie.serving.refusals import EMPTY, VALIDATION, Refusal
from bertie.serving.served_model import ServedModel
from bertie.tasks.features import Features
from bertie.tasks.task import Task

# the text of health checks
_TEXT = "health"


def count_inputs(inputs: Sequence[Any]) -> int:
    """Return the number of inputs; each choice of a prompt counts as one."""
    return sum(len(one[1]) if isinstance(one, tuple) and isinstance(one[1], list) else 1 for one in inputs)


def count_characters(value: Any) -> int:
    """Return the number of characters in nested lists and tuples of texts.

    A prompt counts once for each of its choices, a number as one character.
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, tuple) and isinstance(value[-1], list):
        return len(value[0]) * len(value[1]) + count_characters(value[1])
    return sum(map(count_characters, value)) if isinstance(value, list | tuple) else 1


def are_ids(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and isinstance(given[0], int)


def rows_of_ids(task: Task, rows: Sequence[Sequence[int]]) -> Features:
    """Return features of rows of token ids, special ones included, truncated to the model's limit."""
    size = task.config.vocab_size
    for number, row in enumerate(rows):
        for position, token in enumerate(row):
            if not 0 <= token < size:
                raise InputError(
                    f"Token {position} of input {number} has the id {token}; the model's vocabulary has 0 to "
                    f"{size - 1}. Ids of another tokenizer mean nothing to this model: send the text."
                )
    cut = [max(0, len(row) - task.limit) for row in rows]
    left = task.tokenizer.truncation_side == "left"
    kept = [row[count:] if left else row[: len(row) - count] for row, count in zip(rows, cut, strict=True)]
    flat = np.array([token for row in kept for token in row], np.int64)
    return Features(flat, None, list(map(len, kept)), cut, [False] * len(rows))


def refuse_truncated_texts(features: Features, task: Task) -> None:
    for cut in features.truncated:
        if cut:
            raise Refusal(
                VALIDATION,
                f"Input validation error: `inputs` must have less than {task.limit} tokens. Given: {task.limit + cut}",
            )


def decoded(task: Task, kept: Sequence[Any], features: Features) -> Sequence[Any]:
    return task.decode(task.outputs(kept, features))


def health_input(model: ServedModel) -> Any:
    """Return a minimal input for the model's main task."""
    inputs: Mapping[str, Any] = {
        "fill-mask": model.tokenizer.mask_token,
        "reranking": (_TEXT, _TEXT),
        "next-sentence": (_TEXT, _TEXT),
        "question-answering": (_TEXT, _TEXT),
        "multiple-choice": (_TEXT, [_TEXT, _TEXT]),
    }
    return inputs.get(model.tasks[0], _TEXT)


def one_or_several(given: str | list[Any]) -> tuple[list[Any], bool]:
    """Return the input as a list, and whether it was one."""
    texts = [given] if isinstance(given, str) else given
    check_texts(texts, "inputs")
    return texts, texts is given


def check_texts(texts: Sequence[Any], name: str) -> None:
    """Refuse an empty list and empty texts, in the words of text-embeddings-inference."""
    if not texts:
        raise Refusal(EMPTY, f"`{name}` cannot be empty")
    if any(text in ("", []) for text in texts):
        raise Refusal(EMPTY, f"Input validation error: `{name}` cannot be empty")
