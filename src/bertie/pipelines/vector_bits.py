"""Binary search: candidates are found by the sign bits of vectors, to be compared exactly afterwards."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.tasks.arrays import Array

Bits: TypeAlias = NDArray[np.uint64]


def bits_of(vectors: Array) -> Bits:
    """Return whether each number of vectors ``[N, D]`` is above 0, 64 bits packed together: ``[N, ceil(D / 64)]``."""
    bits = np.packbits(vectors > 0, axis=1)
    return np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64)


def top_indices(scores: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return the indices of the ``count`` largest scores, in no particular order; of ties the first."""
    if count >= len(scores):
        return np.arange(len(scores))
    lowest = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > lowest)
    return np.concatenate([above, np.flatnonzero(scores == lowest)[: count - len(above)]])


class VectorBits:
    """The sign bits of all vectors, in parts, to compare those of a question with."""

    def __init__(self, parts: Sequence[Bits]) -> None:
        self._parts = parts

    def candidates(self, questions: Array, count: int) -> Iterator[NDArray[np.int64]]:
        """Yield for each question ``[Q, D]`` the vectors with the most equal bits, numbered across all parts."""
        for question in bits_of(questions) if self._parts else ():
            distances = [np.bitwise_count(part ^ question).sum(axis=1, dtype=np.int32) for part in self._parts]
            yield np.sort(top_indices(-np.concatenate(distances), count))  # sorted, so that ties go to the first
