"""What the peers share: texts to ids, sorted batches padded to their longest, and answers put back in order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Encode = Callable[[list[str]], list[list[int]]]
Forward = Callable[[Array, Array], Array]


def encoder(tokenizer_file: Path, max_length: int) -> Encode:
    """Return the function from texts to ids of a ``tokenizer.json`` by ``tokenizers``, the fastest of the peers'."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return lambda texts: [row.ids for row in tokenizer.encode_batch_fast(texts)]


def batches(rows: Sequence[Sequence[int]], size: int, order: str) -> Iterator[list[int]]:
    """Yield the indices of ``size`` texts at a time, longest first where ``order`` is "sorted"."""
    indices = list(range(len(rows)))
    if order == "sorted":
        indices.sort(key=lambda index: -len(rows[index]))
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def padded(rows: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Return ids and mask, int64 ``[B, S]``, padded with zeros to the longest row."""
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def runner(
    encode: Encode, forward: Forward, size: int, order: str = "sorted", workers: int = 1
) -> Callable[[Sequence[str]], Array]:
    """Return the function from texts to answers ``[N, D]`` of an engine that takes padded batches.

    With several ``workers`` as many batches are computed at once: ``forward`` is called from threads of their own.
    """
    each: Any = ThreadPoolExecutor(workers).map if workers > 1 else map

    def run(texts: Sequence[str]) -> Array:
        rows = encode(list(texts))
        answers: list[Any] = [None] * len(rows)
        work = list(batches(rows, size, order))
        found = each(lambda batch: forward(*padded([rows[index] for index in batch])), work)
        for batch, answered in zip(work, found, strict=True):
            for index, answer in zip(batch, answered, strict=True):
                answers[index] = answer
        return np.stack(answers)

    return run
