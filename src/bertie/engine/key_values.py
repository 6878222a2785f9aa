"""A decoder's key-value cache, with spare capacity, so that most steps allocate nothing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.engine.activations import Array
from bertie.engine.attention import Starts

# the capacity of each text grows to a multiple of this many tokens
BLOCK = 64


@dataclass(frozen=True)
class Growth:
    """What a step appends: ``counts [B]`` tokens to the texts, at the indices ``places [T]`` of the layer's storage.

    ``starts_q`` and ``starts_k``, int32 ``[2 B + 1]``, are the offsets of each text's queries and keys; the unused
    capacity after each text is treated as a sequence without queries.
    """

    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    starts_q: Starts
    starts_k: Starts


class KeyValues:
    """Keys and values of B texts in L layers."""

    def __init__(self, layers: int, texts: int, heads: tuple[int, int]) -> None:
        self._storage = np.empty((layers, 2, texts, 0, *heads), np.float32)
        self.lengths = np.zeros(texts, np.int64)  # the number of cached tokens of each text, [B]
        self._shared = 0  # how many first tokens are the same in all copies of a text

    def grow(self, counts: NDArray[np.int64]) -> Growth:
        """Reserve storage for ``counts [B]`` more tokens of the texts, and return where they go."""
        ends, texts = self.lengths + counts, len(counts)
        self._reserve(int(ends.max(initial=0)))
        capacity = self._storage.shape[3]
        begins = np.arange(texts) * capacity
        places = np.repeat(begins + self.lengths - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        starts = np.zeros((2, 2 * texts + 1), np.int32)
        starts[0, 1:] = np.repeat(np.cumsum(counts), 2)
        starts[1, 1::2], starts[1, 2::2] = begins + ends, begins + capacity
        self.lengths = ends
        return Growth(counts, places, *starts)

    def append(self, layer: int, keys: Array, values: Array, growth: Growth) -> tuple[Array, Array]:
        """Store a step's keys and values ``[T, H, K]``, and return the layer's whole storage, ``[B * capacity, H, K]``
        each."""
        both = self._storage[layer].reshape(2, -1, *keys.shape[1:])
        both[0, growth.places], both[1, growth.places] = keys, values
        return both[0], both[1]

    def repeat(self, count: int) -> None:
        """Repeat each text ``count`` times, its copies next to each other."""
        self._storage = np.repeat(self._storage, count, axis=2)
        self.lengths = np.repeat(self.lengths, count)
        self._shared = int(self.lengths.min(initial=0))

    def reorder(self, texts: NDArray[np.int64]) -> None:
        """Replace text ``i`` by text ``texts[i]``, another copy of the same text.

        Only a block of one layer's keys or values is copied at a time, so that memory does not grow with the length.
        """
        moved = np.flatnonzero(texts != np.arange(len(texts)))
        if not len(moved):
            return
        for part in self._storage.reshape(-1, *self._storage.shape[2:]):  # keys, then values, of each layer
            for start in range(self._shared, int(self.lengths.max()), BLOCK):
                block = slice(start, start + BLOCK)
                part[moved, block] = part[texts[moved], block]
        self.lengths = self.lengths[texts]

    def _reserve(self, width: int) -> None:
        before: NDArray[Any] = self._storage
        if width <= before.shape[3]:
            return
        capacity = max(-(-width // BLOCK) * BLOCK, 2 * before.shape[3])
        self._storage = np.empty((*before.shape[:3], capacity, *before.shape[4:]), np.float32)
        self._storage[:, :, :, : before.shape[3]] = before
