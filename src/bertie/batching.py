"""Batches by token budget, for everyone who batches: lengths in, lists of indices out, and a way past full memory.

A batch's cost is its tokens, not its texts. Texts are sorted by length, longest first: texts of equal length lie
beside each other (grouped attention then copies nothing), and a batch that does not fit shows at once.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch

from bertie.errors import BertieError, InputError
from bertie.report import logger

Answer = TypeVar("Answer")

# On a CPU a batch's activations should stay in the cache; a GPU wants enough work for all its units.
CPU_TOKENS = 4_096
GPU_TOKENS = 65_536


def default_tokens(device: torch.device) -> int:
    """Return the token budget of a batch on this kind of device."""
    return CPU_TOKENS if device.type == "cpu" else GPU_TOKENS


def batches(lengths: Sequence[int], tokens: int, texts: int | None = None) -> Iterator[list[int]]:
    """Yield lists of indices into ``lengths``, each index once, whose lengths sum to at most ``tokens``.

    Args:
        lengths: the number of tokens of each text.
        tokens: the budget of a batch; a text longer than it is a batch of its own.
        texts: the largest number of texts in a batch; None sets no limit.

    Raises:
        InputError: a budget below 1.
    """
    for name, value in (("tokens", tokens), ("texts", 1 if texts is None else texts)):
        if value < 1:
            raise InputError(f"A batch needs at least 1 of {name}, not {value}.")
    batch: list[int] = []
    total = 0
    for index in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
        if batch and (total + lengths[index] > tokens or len(batch) == texts):
            yield batch
            batch, total = [], 0
        batch.append(index)
        total += lengths[index]
    if batch:
        yield batch


def in_batches(
    lengths: Sequence[int], compute: Callable[[list[int]], Answer], tokens: int, texts: int | None = None
) -> Iterator[tuple[list[int], Answer]]:
    """Yield every batch with what ``compute`` makes of it; one that exhausts the memory is halved and tried again.

    What did not fit once is not tried again: later batches are held to the size that is known to fail.

    Raises:
        BertieError: a single text exhausts the memory.
    """
    waiting = deque(batches(lengths, tokens, texts))
    too_many = tokens + max(lengths, default=0) + 1
    while waiting:
        batch = waiting.popleft()
        size = sum(lengths[index] for index in batch)
        answer = _attempt(compute, batch) if size < too_many or len(batch) == 1 else None
        if answer is not None:
            yield batch, answer[0]
            continue
        too_many = min(too_many, size)
        waiting.extendleft(reversed(_halves(batch, size)))


def in_order(answers: Iterator[tuple[list[int], Sequence[Answer]]], count: int) -> list[Answer]:
    """Return one answer a text in the order of the texts, from batches in any order."""
    ordered: dict[int, Answer] = {}
    for batch, found in answers:
        ordered.update(zip(batch, found, strict=True))
    return [ordered[index] for index in range(count)]


def padding_share(lengths: Sequence[int], texts: int = 32) -> float:
    """Return the share of a padded program's tokens that are padding: 0.6 says that 60 % of its work is for nothing.

    The padded program takes ``texts`` texts at a time in the given order and pads each batch to its longest.
    """
    padded = sum(
        max(lengths[start : start + texts]) * len(lengths[start : start + texts])
        for start in range(0, len(lengths), texts)
    )
    return 1 - sum(lengths) / padded if padded else 0.0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the host's or the device's memory is exhausted."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # the CPU's allocator has no kind of error of its own
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _attempt(compute: Callable[[list[int]], Answer], batch: list[int]) -> tuple[Answer] | None:
    """Return what ``compute`` answers, as a tuple of one, or None if it ran out of memory."""
    try:
        return (compute(batch),)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    # only here, after the error and the tensors in its frames are gone, is there memory to give back
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _halves(batch: list[int], size: int) -> list[list[int]]:
    if len(batch) == 1:
        raise BertieError(
            f"Text {batch[0]} alone, with its {size} tokens, exhausts the memory; cut or split it, or free memory."
        )
    logger.warning("A batch of %d texts (%d tokens) exhausts the memory; it is halved.", len(batch), size)
    middle = (len(batch) + 1) // 2
    return [batch[:middle], batch[middle:]]
