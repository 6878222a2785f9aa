"""Vectors by the signs of their numbers, a bit each: what these find near is compared exactly afterwards."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.tasks.arrays import Array

Bits: TypeAlias = NDArray[np.uint64]


def bits_of(vectors: Array) -> Bits:
    """Return for each number of vectors ``[N, D]`` whether it is above 0, 64 together, ``[N, D / 64]`` rounded up."""
    bits = np.packbits(vectors > 0, axis=1)
    return np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64)


def top_indices(scores: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return the indices of the ``count`` largest scores in no order, of equal ones the first."""
    if count >= len(scores):
        return np.arange(len(scores))
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > least)
    return np.concatenate([above, np.flatnonzero(scores == least)[: count - len(above)]])


class VectorBits:
    """Bits of many vectors, in parts, with which those of a question are compared."""

    def __init__(self, parts: Sequence[Bits]) -> None:
        self._parts = parts

    def candidates(self, questions: Array, count: int) -> Iterator[NDArray[np.int64]]:
        """Yield for each question ``[Q, D]`` which vectors have the most equal bits, of all parts one after another."""
        for question in bits_of(questions) if self._parts else ():
            unequal = [np.bitwise_count(part ^ question).sum(axis=1, dtype=np.int32) for part in self._parts]
            yield np.sort(top_indices(-np.concatenate(unequal), count))  # so that of equal vectors the first is best
