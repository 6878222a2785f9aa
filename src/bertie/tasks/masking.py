"""Which tokens a model is to guess, and what it sees in their place (BERT, section 3.1, task 1).

Letters: R rows, T tokens in all, N of them ordinary, W words, V entries of the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.config import IGNORED
from bertie.errors import InputError, nearest
from bertie.tasks.alignment import continuing_prefix, find_continuing
from bertie.tasks.arrays import Array, Integers

UNITS = ("tokens", "words", "spans")
# Of the tokens to guess: hidden behind [MASK], and replaced by a random one; the rest stays (BERT, section 3.1).
MASKED, RANDOM = 0.8, 0.1
# The lengths of spans in words (SpanBERT, section 3.1): geometric, and drawn again where they are longer than this.
GEOMETRIC, LONGEST = 0.2, 10


@dataclass(frozen=True)
class Masking:
    """How much of every row is to be guessed, and in which units it is drawn."""

    # the share of a row's ordinary tokens, rounded to a number of tokens, one at least; of the last unit only so many
    # tokens are taken as that number allows
    rate: float = 0.15
    # "tokens"; "words", all pieces at a time (whole-word masking); or "spans" of words side by side, 3.8 in the mean
    # and at most 10 (Joshi et al. 2020, SpanBERT, section 3.1), of which all tokens are hidden, random or kept together
    units: str = "tokens"

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise InputError(f"The share of tokens to guess is {self.rate}; it must be between 0 and 1.")
        if self.units not in UNITS:
            known = ", ".join(UNITS)
            raise InputError(f"Masking draws {known}, not {self.units!r}.{nearest(self.units, UNITS)}")

    @property
    def draws(self) -> int:
        """How many random numbers a token needs."""
        return 4 if self.units == "spans" else 3


class Masked(NamedTuple):
    """What a model sees, ids ``[T]``, and what it is to guess: labels ``[T]``, elsewhere `IGNORED`."""

    ids: Integers
    labels: Integers


class Masker:
    """Masks rows of a tokenizer's ids by random numbers that the caller draws; special tokens are never touched.

    The model's embeddings have ``rows`` rows at least: an id may be as high as that.
    """

    def __init__(self, masking: Masking, tokenizer: Any, rows: int = 0) -> None:
        if tokenizer.mask_token_id is None:
            raise InputError("This tokenizer has no mask token, so there is nothing to guess.")
        if masking.units != "tokens" and continuing_prefix(tokenizer) is None:
            raise InputError(
                "This tokenizer's tokens don't show where words begin, so single tokens can be drawn alone, not whole "
                f"{masking.units}."
            )
        self.masking, self._tokenizer, self._rows = masking, tokenizer, max(rows, len(tokenizer))

    def counts(self, ids: Integers, lengths: Sequence[int], owned: Array | None = None) -> Integers:
        """Return how many tokens of each row ``[R]`` are to be guessed; only ``owned`` ones ``[T]`` can be."""
        ends = np.cumsum(self._can_be_guessed(ids, owned))[np.cumsum(lengths) - 1]
        able = np.diff(ends, prepend=0)
        return np.minimum(able, np.maximum(1, np.rint(self.masking.rate * able))).astype(np.int64)

    def mask(self, ids: Integers, lengths: Sequence[int], draws: Array, owned: Array | None = None) -> Masked:
        """Mask ids ``[T]`` of rows by numbers between 0 and 1, ``[masking.draws, T]``.

        They say which tokens are guessed (the lowest of a row), what becomes of each, what random token it is replaced
        by, and how long the span is that begins there.
        """
        places = np.flatnonzero(self._can_be_guessed(ids, owned))
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
        swapped = chosen[(fate >= MASKED) & (fate < MASKED + RANDOM)]
        masked[swapped] = self._others(ids[swapped], draws[2, swapped])
        return Masked(masked, labels)

    def _can_be_guessed(self, ids: Integers, owned: Array | None) -> NDArray[np.bool_]:
        ordinary = self._is_ordinary[ids]
        return ordinary if owned is None else ordinary & owned

    def _units(self, ids: Integers, places: Integers, rows: Integers, draws: Array) -> Integers:
        """Return for each ordinary token ``[N]`` the place of the one that decides for its unit."""
        if self.masking.units == "tokens":
            return places
        breaks = (np.diff(places, prepend=-2) != 1) | (np.diff(rows, prepend=-1) != 0)
        begins = breaks | ~self._goes_on[ids[places]]
        firsts, words = places[begins], np.cumsum(begins) - 1
        if self.masking.units == "spans":
            firsts = _spans(firsts, np.cumsum(breaks)[begins], draws)
        return firsts[words]

    def _others(self, ids: Integers, draws: Array) -> Integers:
        """Return a random ordinary token for each id, other than itself."""
        if len(self._ordinary) < 2:
            return ids
        drawn = (draws * (len(self._ordinary) - 1)).astype(np.int64)
        return self._ordinary[drawn + (drawn >= self._number[ids])]

    @cached_property
    def _is_ordinary(self) -> NDArray[np.bool_]:
        """Which ids are words, and no control tokens, ``[V]``."""
        ordinary = np.ones(self._rows, np.bool_)
        ordinary[list(self._tokenizer.all_special_ids)] = False
        return ordinary

    @cached_property
    def _ordinary(self) -> Integers:
        """The ids that a token may be replaced by."""
        return np.flatnonzero(self._is_ordinary[: len(self._tokenizer)])

    @cached_property
    def _number(self) -> Integers:
        """Where each id stands among those, ``[V]``."""
        return np.cumsum(self._is_ordinary) - 1

    @cached_property
    def _goes_on(self) -> NDArray[np.bool_]:
        return find_continuing(self._tokenizer, self._rows)


def _spans(firsts: Integers, runs: Integers, draws: Array) -> Integers:
    """Return the first token of the span that each word ``[W]`` is part of: of those that reach it, the lowest drawn.

    A span begins at every word, and ends with its run of words side by side.
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
