"""Which tokens a model has to predict, and what it sees in their place (BERT, section 3.1, task 1).

Letters: R rows, T tokens in total, N ordinary ones, W words, V vocabulary entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.config import IGNORED
from bertie.errors import InputError, nearest
from bertie.tasks.alignment import continuation_mask, continuing_prefix
from bertie.tasks.arrays import Array, Integers

UNITS = ("tokens", "words", "spans")
# The shares of the tokens to predict that become [MASK] and a random token; the others are kept (BERT, section 3.1).
MASKED, RANDOM = 0.8, 0.1
# Span lengths in words are geometric with this p, redrawn if they exceed the maximum (SpanBERT, section 3.1).
GEOMETRIC, LONGEST = 0.2, 10


@dataclass(frozen=True)
class Masking:
    """How much of every row is to be predicted, and in which units tokens are drawn."""

    # the share of a row's ordinary tokens, rounded to a number of tokens, at least one; the last unit is cut to fit it
    rate: float = 0.15
    # "tokens"; "words" (whole-word masking); or "spans" of consecutive words, 3.8 on average and at most 10 (Joshi et
    # al. 2020, SpanBERT, section 3.1), all of whose tokens are masked, replaced or kept together
    units: str = "tokens"

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise InputError(f"The share of tokens to predict is {self.rate}; it must be between 0 and 1.")
        if self.units not in UNITS:
            known = ", ".join(UNITS)
            raise InputError(f"Masking draws {known}, not {self.units!r}.{nearest(self.units, UNITS)}")

    @property
    def draws(self) -> int:
        """The random numbers needed per token."""
        return 4 if self.units == "spans" else 3


class Masked(NamedTuple):
    """The ids ``[T]`` that a model sees, and the labels ``[T]`` that it has to predict, `IGNORED` elsewhere."""

    ids: Integers
    labels: Integers


class Masker:
    """Masks rows of a tokenizer's ids by random numbers that the caller draws; special tokens are never masked.

    ``rows`` is the number of rows of the model's embeddings, if that is larger than the vocabulary: ids can be as high.
    """

    def __init__(self, masking: Masking, tokenizer: Any, rows: int = 0) -> None:
        if tokenizer.mask_token_id is None:
            raise InputError("This tokenizer has no mask token, so there is nothing to predict.")
        if masking.units != "tokens" and continuing_prefix(tokenizer) is None:
            raise InputError(
                "This tokenizer's tokens do not show where words begin, so only tokens can be drawn, not "
                f"{masking.units}."
            )
        self.masking, self._tokenizer, self._rows = masking, tokenizer, max(rows, len(tokenizer))

    def counts(self, ids: Integers, lengths: Sequence[int], owned: Array | None = None) -> Integers:
        """Return how many tokens of each row ``[R]`` are to be predicted; only ``owned`` ones ``[T]`` can be."""
        ends = np.cumsum(self._is_maskable(ids, owned))[np.cumsum(lengths) - 1]
        maskable = np.diff(ends, prepend=0)
        return np.minimum(maskable, np.maximum(1, np.rint(self.masking.rate * maskable))).astype(np.int64)

    def mask(self, ids: Integers, lengths: Sequence[int], draws: Array, owned: Array | None = None) -> Masked:
        """Mask ids ``[T]`` of rows by uniform random numbers ``[masking.draws, T]``.

        These decide which tokens are predicted (the lowest in a row), whether each is masked, replaced or kept, by what
        random token it is replaced, and the length of a span that begins there.
        """
        places = np.flatnonzero(self._is_maskable(ids, owned))
        rows = np.repeat(np.arange(len(lengths)), lengths)[places]
        units = self._units(ids, places, rows, draws)
        order = np.lexsort((draws[0, units], rows))
        starts = np.searchsorted(rows, np.arange(len(lengths)))
        lowest = order[np.arange(len(places)) - starts[rows] < self.counts(ids, lengths, owned)[rows]]
        chosen = places[lowest]
        fate = draws[1, units[lowest] if self.masking.units == "spans" else chosen]
        masked, labels = ids.copy(), np.full_like(ids, IGNORED)
        labels[chosen] = ids[chosen]
        masked[chosen[fate < MASKED]] = self._tokenizer.mask_token_id
        replaced = chosen[(fate >= MASKED) & (fate < MASKED + RANDOM)]
        masked[replaced] = self._others(ids[replaced], draws[2, replaced])
        return Masked(masked, labels)

    def _is_maskable(self, ids: Integers, owned: Array | None) -> NDArray[np.bool_]:
        ordinary = self._is_ordinary[ids]
        return ordinary if owned is None else ordinary & owned

    def _units(self, ids: Integers, places: Integers, rows: Integers, draws: Array) -> Integers:
        """Return for each ordinary token ``[N]`` the position of the token whose draws decide for its unit."""
        if self.masking.units == "tokens":
            return places
        breaks = (np.diff(places, prepend=-2) != 1) | (np.diff(rows, prepend=-1) != 0)
        begins = breaks | ~self._continues[ids[places]]
        firsts, words = places[begins], np.cumsum(begins) - 1
        if self.masking.units == "spans":
            firsts = _spans(firsts, np.cumsum(breaks)[begins], draws)
        return firsts[words]

    def _others(self, ids: Integers, draws: Array) -> Integers:
        """Return a random ordinary token for each id, other than itself."""
        if len(self._ordinary) < 2:
            return ids
        drawn = (draws * (len(self._ordinary) - 1)).astype(np.int64)
        return self._ordinary[drawn + (drawn >= self._index[ids])]

    @cached_property
    def _is_ordinary(self) -> NDArray[np.bool_]:
        """Which ids are not special tokens, ``[V]``."""
        ordinary = np.ones(self._rows, np.bool_)
        ordinary[list(self._tokenizer.all_special_ids)] = False
        return ordinary

    @cached_property
    def _ordinary(self) -> Integers:
        """The ids that a token may be replaced by."""
        return np.flatnonzero(self._is_ordinary[: len(self._tokenizer)])

    @cached_property
    def _index(self) -> Integers:
        """The index of each id in `_ordinary`, ``[V]``."""
        return np.cumsum(self._is_ordinary) - 1

    @cached_property
    def _continues(self) -> NDArray[np.bool_]:
        return continuation_mask(self._tokenizer, self._rows)


def _spans(firsts: Integers, runs: Integers, draws: Array) -> Integers:
    """Return the first token of the span that each word ``[W]`` belongs to: the lowest drawn of those that reach it.

    A span begins at every word, and ends at the latest with its run of consecutive words.
    """
    rest = 1 - GEOMETRIC
    lengths = np.log1p(-draws[3, firsts] * (1 - rest**LONGEST)) / np.log(rest)
    lengths = np.clip(np.ceil(lengths), 1, LONGEST)
    found = firsts.copy()
    for word in range(1, min(LONGEST, len(firsts))):
        reaches = (lengths[:-word] > word) & (runs[:-word] == runs[word:])
        lower = reaches & (draws[0, firsts[:-word]] < draws[0, found[word:]])
        found[word:][lower] = firsts[:-word][lower]
    return found
