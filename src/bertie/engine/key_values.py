"""Keys and values of tokens that a decoder has read, kept from step to step in room for more."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.engine.activations import Array
from bertie.engine.attention import Starts

# tokens of each text that room is made for at a time: most steps allocate nothing
ROOM = 64


@dataclass(frozen=True)
class Growth:
    """What a step appends: to each text so many ``counts [B]``, at these ``places [T]`` of all texts' rooms.

    ``starts_q`` and ``starts_k``, int32 ``[2 B + 1]``, say where each text's queries and keys begin; behind each stands
    the room that it leaves free, as a text without queries.
    """

    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    starts_q: Starts
    starts_k: Starts


class KeyValues:
    """Keys and values of B texts in L layers."""

    def __init__(self, layers: int, texts: int, heads: tuple[int, int]) -> None:
        self._numbers = np.empty((layers, 2, texts, 0, *heads), np.float32)
        self.lengths = np.zeros(texts, np.int64)  # how many tokens of each text are held, [B]
        self._shared = 0  # so many first tokens are the same in all copies of a text

    def grow(self, counts: NDArray[np.int64]) -> Growth:
        """Make room for so many more tokens of each text ``[B]``, and return where they stand."""
        ends, texts = self.lengths + counts, len(counts)
        self._reserve(int(ends.max(initial=0)))
        room = self._numbers.shape[3]
        begins = np.arange(texts) * room
        places = np.repeat(begins + self.lengths - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        starts = np.zeros((2, 2 * texts + 1), np.int32)
        starts[0, 1:] = np.repeat(np.cumsum(counts), 2)
        starts[1, 1::2], starts[1, 2::2] = begins + ends, begins + room
        self.lengths = ends
        return Growth(counts, places, *starts)

    def append(self, layer: int, keys: Array, values: Array, growth: Growth) -> tuple[Array, Array]:
        """Keep the keys and values ``[T, H, K]`` of a step, and return all of the layer with the free room, twice
        ``[B * room, H, K]``."""
        both = self._numbers[layer].reshape(2, -1, *keys.shape[1:])
        both[0, growth.places], both[1, growth.places] = keys, values
        return both[0], both[1]

    def repeat(self, count: int) -> None:
        """Repeat each text ``count`` times, its copies side by side."""
        self._numbers = np.repeat(self._numbers, count, axis=2)
        self.lengths = np.repeat(self.lengths, count)
        self._shared = int(self.lengths.min(initial=0))

    def reorder(self, texts: NDArray[np.int64]) -> None:
        """Make text ``i`` what text ``texts[i]`` was, which is a copy of the same.

        A few tokens of one layer's keys, or values, are copied at a time, so that no step needs more for a longer past.
        """
        moved = np.flatnonzero(texts != np.arange(len(texts)))
        if not len(moved):
            return
        for part in self._numbers.reshape(-1, *self._numbers.shape[2:]):  # of each layer keys, then values
            for start in range(self._shared, int(self.lengths.max()), ROOM):
                some = slice(start, start + ROOM)
                part[moved, some] = part[texts[moved], some]
        self.lengths = self.lengths[texts]

    def _reserve(self, width: int) -> None:
        before: NDArray[Any] = self._numbers
        if width <= before.shape[3]:
            return
        room = max(-(-width // ROOM) * ROOM, 2 * before.shape[3])
        self._numbers = np.empty((*before.shape[:3], room, *before.shape[4:]), np.float32)
        self._numbers[:, :, :, : before.shape[3]] = before
