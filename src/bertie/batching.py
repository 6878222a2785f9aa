"""Batching by token budget: lengths in, lists of indices out, with smaller batches when memory runs out.

A batch costs what its tokens cost, however many texts they are. Texts are sorted by length, longest first: texts of
equal length become neighbours (grouped attention then copies nothing), and a batch too large for the memory fails at
once.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from bertie.errors import BertieError, InputError
from bertie.extras import loaded
from bertie.progress import logger
from bertie.threads import available_threads, can_divide_cores, compute_each

Answer = TypeVar("Answer")

# On a CPU a batch's hidden states [tokens, width] should stay in a core's cache; a GPU needs work for all its units.
CPU_ELEMENTS = 1_024 * 384
GPU_TOKENS = 65_536
# While one thread waits for a batch's answers, the other packs and launches the next.
GPU_WORKERS = 2
# Fewer tokens than this are not worth a thread of their own.
WORKER_TOKENS = 256


class Budget(NamedTuple):
    """How much is computed at a time: the tokens of a batch, and the number of concurrent batches."""

    tokens: int
    workers: int


def cores_to_divide() -> int:
    """Return how many batches may be computed at once on a CPU, each on its own core."""
    return available_threads() if can_divide_cores() else 1


def budget(lengths: Sequence[int], device_type: str, width: int, cores: int, tokens: int | None = None) -> Budget:
    """Return the budget for this device and workload; all workers together compute at most ``tokens`` at a time.

    On a CPU every core computes its own batches. Two threads feed a CUDA device, so that it never waits for the host.
    """
    if device_type != "cpu":
        return Budget(tokens or GPU_TOKENS, GPU_WORKERS if device_type == "cuda" else 1)
    work = sum(lengths)
    workers = max(1, min(cores, work // WORKER_TOKENS, len(lengths)))
    share = max(WORKER_TOKENS, CPU_ELEMENTS // width) if tokens is None else -(-tokens // workers)
    return Budget(max(1, min(share, -(-work // workers))), workers)


def batches(lengths: Sequence[int], tokens: int, texts: int | None = None) -> Iterator[list[int]]:
    """Yield lists of at most ``texts`` indices into ``lengths``, whose lengths sum to at most ``tokens``.

    Every index occurs once. A text longer than ``tokens`` is a batch of its own.
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
    lengths: Sequence[int],
    compute: Callable[[list[int]], Answer],
    tokens: int,
    texts: int | None = None,
    workers: int = 1,
) -> Iterator[tuple[list[int], Answer]]:
    """Yield every batch with the result of ``compute``; one that exhausts the memory is halved and retried.

    Later batches as large as one that failed are halved without a try. ``workers`` threads call ``compute``.
    """
    waiting = deque(batches(lengths, tokens, texts))
    too_many = tokens + max(lengths, default=0) + 1

    def size(batch: list[int]) -> int:
        return sum(lengths[index] for index in batch)

    def attempt(batch: list[int]) -> tuple[Answer] | None:
        return _attempt(compute, batch) if size(batch) < too_many or len(batch) == 1 else None

    while waiting:  # halves are queued again after other batches have started
        for batch, answer in compute_each(attempt, _drained(waiting), min(workers, len(waiting))):
            if answer is not None:
                yield batch, answer[0]
            else:
                too_many = min(too_many, size(batch))
                waiting.extendleft(reversed(_halves(batch, size(batch))))


def in_order(answers: Iterator[tuple[list[int], Sequence[Answer]]], count: int) -> list[Answer]:
    """Return one answer per text, in the order of the texts, from batches in any order."""
    ordered: dict[int, Answer] = {}
    for batch, found in answers:
        ordered.update(zip(batch, found, strict=True))
    return [ordered[index] for index in range(count)]


def padding_share(lengths: Sequence[int], texts: int = 32) -> float:
    """Return the share of padding if ``texts`` texts at a time are padded to the longest of them."""
    padded = sum(
        max(lengths[start : start + texts]) * len(lengths[start : start + texts])
        for start in range(0, len(lengths), texts)
    )
    return 1 - sum(lengths) / padded if padded else 0.0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the host's or the device's memory is exhausted."""
    torch = loaded("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    # PyTorch's CPU allocator has no error class of its own
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _drained(waiting: deque[list[int]]) -> Iterator[list[int]]:
    while waiting:
        yield waiting.popleft()


def _attempt(compute: Callable[[list[int]], Answer], batch: list[int]) -> tuple[Answer] | None:
    """Return the result of ``compute`` as a 1-tuple, or None if it ran out of memory."""
    try:
        return (compute(batch),)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    # only here have the error and the tensors in its frames been released
    torch = loaded("torch")
    if torch is not None and torch.cuda.is_available():
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
