"""What a task makes of texts before the model sees them: ids without padding, and what had to be left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch

from bertie.packing import Packed
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.rows import flat_ids


@dataclass(frozen=True, eq=False)
class Features:
    """N texts as T token ids, side by side in one array: a batch is slices of it. Lists have one entry a text.

    Attributes:
        ids: ``[T]`` int64, special tokens included.
        types: ``[T]`` int64, the token types; None where all are 0.
        lengths: the number of tokens of each text.
        truncated: how many tokens of each text were cut off.
        empty: whether a text has no token but the special ones.
    """

    ids: "np.ndarray[Any, np.dtype[np.int64]]"
    types: "np.ndarray[Any, np.dtype[np.int64]] | None"
    lengths: list[int]
    truncated: list[int]
    empty: list[bool]

    @classmethod
    def from_rows(cls, rows: Iterable[Encoding]) -> "Features":
        """Return the features of rows as bertie's tokenizers make them."""
        return cls(*flat_ids(rows))

    @classmethod
    def from_lists(
        cls, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]], truncated: list[int], empty: list[bool]
    ) -> "Features":
        """Return the features of texts that came as one list of ids, and of types, each."""
        flat, flat_types = (np.array([value for row in rows for value in row], np.int64) for rows in (ids, types))
        return cls(flat, flat_types, list(map(len, ids)), truncated, empty)

    @property
    def input_ids(self) -> list[list[int]]:
        """One list of ids a text, made anew each time."""
        return [self.ids[start:stop].tolist() for start, stop in self._spans]

    def select(self, texts: Sequence[int]) -> "Features":
        """Return the features of the texts with these indices, in this order."""
        slices = [slice(*self._spans[text]) for text in texts]

        def cut(values: "np.ndarray[Any, np.dtype[np.int64]]") -> "np.ndarray[Any, np.dtype[np.int64]]":
            return np.concatenate([values[:0], *map(values.__getitem__, slices)])

        lengths, truncated = ([values[text] for text in texts] for values in (self.lengths, self.truncated))
        types = None if self.types is None else cut(self.types)
        return Features(cut(self.ids), types, lengths, truncated, [self.empty[text] for text in texts])

    def packed(self, device: torch.device | str | None = None) -> Packed:
        """Return the texts as one packed batch on ``device``."""
        return Packed.from_flat(self.ids, self.lengths, self.types, device=device)

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        return list(pairwise(accumulate(self.lengths, initial=0)))
