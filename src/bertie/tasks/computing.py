"""From features to what a task keeps of every row: batches by token budget, no padding, and no NaN that goes unseen."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any

import torch

from bertie.batching import budget, in_batches, in_order
from bertie.tasks.features import Features, Values
from bertie.tasks.finite import refuse_non_finite, summed
from bertie.tasks.task import Task


def compute(
    task: Task,
    model: Any,
    features: Features,
    *,
    batch_tokens: int | None = None,
    batch_size: int | None = None,
    first: int = 0,
    advance: Callable[[float], None] = lambda _: None,
) -> Values:
    """Return one value an input, what `Task.combine` makes of its rows; arguments as of `computed_rows`."""
    return task.combine(
        computed_rows(
            task, model, features, batch_tokens=batch_tokens, batch_size=batch_size, first=first, advance=advance
        ),
        features,
    )


def computed_rows(
    task: Task,
    model: Any,
    features: Features,
    *,
    batch_tokens: int | None = None,
    batch_size: int | None = None,
    first: int = 0,
    advance: Callable[[float], None] = lambda _: None,
) -> list[Any]:
    """Return one value a row, what `Task.rows` keeps of it.

    Args:
        task: what is computed.
        model: a model in eval mode with the task's head.
        features: the rows of N inputs.
        batch_tokens: tokens in a batch; None: what suits the device.
        batch_size: the most rows in a batch; None sets no limit.
        first: the number of the first input in the caller's list, for error messages.
        advance: is told of the work done, in inputs.

    Raises:
        BertieError: the model gives NaN or infinite numbers, or one row exhausts the memory.
    """
    device = device_of(model)
    # launched in turn: two batches that a device was given at once would need the memory of both
    launching = nullcontext() if device.type == "cpu" else Lock()

    def batch_of(rows: list[int]) -> Sequence[Any]:
        part = features.select(rows)
        packed = part.packed(device)
        with torch.inference_mode():
            with launching:
                output = task.run(model, packed, part)
            total = summed(output)  # before the answers are fetched: a device is waited for once
            kept = task.rows(output, part)
            refuse_non_finite(output, total, model, packed, [first + features.owner(row) for row in rows])
        # long texts come first: counted by their tokens, the time left is not overestimated
        advance(features.num_inputs * packed.num_tokens / work)
        return kept

    work = max(sum(features.lengths), 1)
    tokens, workers = budget(features.lengths, device.type, model.config.hidden_size, batch_tokens)
    batches = in_batches(features.lengths, batch_of, tokens, batch_size, workers)
    return in_order(batches, len(features.lengths))


def device_of(model: Any) -> torch.device:
    """Return where a model's parameters lie."""
    device: torch.device = next(model.parameters()).device
    return device
