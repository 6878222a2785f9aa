"""From features to what a task keeps of each row: batches by token budget, without padding, checked for NaN."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import isfinite
from threading import Lock
from typing import Any

from bertie.batching import budget, in_batches, in_order
from bertie.errors import BertieError
from bertie.tasks.features import Features
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, operations_on, outputs_of
from bertie.tasks.task import Task

_NO_LOCK = nullcontext()


def compute_rows(
    task: Task,
    model: Model,
    features: Features,
    *,
    batch_tokens: int | None = None,
    batch_size: int | None = None,
    first: int = 0,
    advance: Callable[[float], None] = lambda _: None,
) -> list[Any]:
    """Return what `Task.rows` keeps of each row, computed by a model in eval mode with the task's head.

    ``batch_tokens=None`` chooses what suits the device. In messages inputs are numbered from ``first``; ``advance`` is
    called with the work done, in inputs.
    """
    # one batch at a time: two that are launched together would need the memory of both
    lock = _NO_LOCK if model.device_type == "cpu" else Lock()

    def batch_of(rows: list[int]) -> Sequence[Any]:
        part = features.select(rows)
        kept = compute_batch(task, model, part, lambda: (first + features.owner_of_rows[rows]).tolist(), lock)
        # counted in tokens, because long texts come first and would make the remaining time look too long
        advance(features.num_inputs * len(part.ids) / work)
        return kept

    work = max(sum(features.lengths), 1)
    width = model.config.get_text_config(encoder=True).hidden_size
    tokens, workers = budget(features.lengths, model.device_type, width, tokens=batch_tokens, cores=model.threads)
    model = model.with_threads(1) if workers > 1 else model
    batches = in_batches(features.lengths, batch_of, tokens, batch_size, workers)
    return in_order(batches, len(features.lengths))


def compute_batch(
    task: Task,
    model: Model,
    features: Features,
    numbers: Callable[[], Sequence[int]],
    lock: AbstractContextManager[Any] = _NO_LOCK,
) -> Sequence[Any]:
    """Return what `Task.rows` keeps of the rows of one batch.

    ``numbers`` returns the numbers of their texts, for messages; ``lock`` is held while the batch is launched.
    """
    with model.inference():
        with lock:
            output = task.run(model, features)
        # launched before the answers are fetched, so that the host waits for the device only once
        total = sum(operations_on(each).total(each) for each in outputs_of(output))
        kept = task.rows(output, features)
        if not isfinite(total):
            refuse_non_finite(output, model, features, numbers())
    return kept


def refuse_non_finite(output: Computed, model: Model, features: Features, numbers: Sequence[int]) -> None:
    """Raise an error that names text and layer if a model's output for a batch has NaN or infinity.

    ``numbers`` are those of the batch's texts in the caller's list.
    """
    if all(operations_on(each).finite_rows(each).all() for each in outputs_of(output)):
        return
    place, token = _origin(model, features)
    text = int(features.rows_of(token))
    damaged = "the weights are damaged"
    advice = damaged if model.dtype == "float32" else f"use dtype='float32', or {damaged}"
    raise BertieError(
        f"The model gives NaN or infinite numbers: first in {place}, for text {numbers[text]} (computed in "
        f"{model.dtype}); {advice}."
    )


def _origin(model: Model, features: Features) -> tuple[str, int]:
    """Return the first layer whose output is not finite, and the first such token, by computing the batch again."""
    for index, hidden in enumerate(model.layers(features)):
        finite = operations_on(hidden).finite_rows(hidden)
        if not finite.all():
            return (f"encoder layer {index - 1}" if index else "the embeddings"), int(finite.argmin())
    return "the head", 0
