"""Answer spans: the best of a context read in windows, with probabilities, and answers as places of tokens to learn."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.tasks.arrays import log_sum_exp
from bertie.tokenization.pieces import Span

Floats = NDArray[np.floating[Any]]


class WindowScores(NamedTuple):
    """What a model says of the pieces of a context that one window holds."""

    first: int  # the number, in the context, of the window's first piece
    start: Floats  # [n], how much speaks for an answer that starts with each piece
    end: Floats  # [n], the same for its last piece
    owned: range  # the pieces, numbered in the context, that stand most in context in this window
    null: tuple[float, float]  # the start's and the end's score of [CLS], which speak for no answer

    @property
    def own(self) -> slice:
        """The places of the owned pieces among those of the window."""
        return slice(self.owned.start - self.first, self.owned.stop - self.first)


class AnswerSpan(NamedTuple):
    """An answer: the pieces ``first`` to ``last`` of the context, both included, and the sum of their scores."""

    first: int
    last: int
    logit: float


def best_spans(windows: Sequence[WindowScores], count: int, longest: int) -> list[AnswerSpan]:
    """Return up to ``count`` answers of at most ``longest`` pieces, best first.

    An answer's start is read in the window that owns it, and its end in the same one, as in BERT's own evaluation.
    Of answers that do equally well, the earlier and then the shorter goes first.
    """
    found = [span for window in windows for span in _best_of_window(window, count, longest)]
    return sorted(found, key=lambda span: (-span.logit, span.first, span.last))[:count]


def _best_of_window(window: WindowScores, count: int, longest: int) -> list[AnswerSpan]:
    starts = np.arange(window.own.start, window.own.stop)
    width = min(longest, len(window.end))
    if not len(starts):
        return []
    # row i holds the answers that start with owned piece i, column j those of j + 1 pieces
    ends = np.concatenate((window.end.astype(np.float64), np.full(width, -np.inf)))
    sums = window.start[starts].astype(np.float64)[:, None] + ends[starts[:, None] + np.arange(width)]
    least = np.partition(sums, -count, axis=None)[-count] if count < sums.size else -np.inf
    rows, columns = np.nonzero((sums >= least) & (sums > -np.inf))
    firsts = rows + window.owned.start
    return list(map(AnswerSpan, firsts.tolist(), (firsts + columns).tolist(), sums[rows, columns].tolist()))


def null_scores(windows: Sequence[WindowScores]) -> tuple[float, float]:
    """Return the scores of no answer: those of the window least sure of it, as that one may hold the answer."""
    return min((window.null for window in windows), key=sum)


class Normalizer(NamedTuple):
    """The logarithms of what exponentiated scores of starts, and of ends, sum to."""

    start: float
    end: float

    @classmethod
    def of(cls, windows: Sequence[WindowScores]) -> "Normalizer":
        """Return that of a context: each piece counts in the window that owns it, and [CLS] once."""
        start, end = null_scores(windows)
        starts = np.concatenate([[start], *(window.start[window.own] for window in windows)])
        ends = np.concatenate([[end], *(window.end[window.own] for window in windows)])
        return cls(float(log_sum_exp(starts)), float(log_sum_exp(ends)))

    def probability(self, logit: float) -> float:
        """Return the probability of an answer: that of its start times that of its end."""
        return float(min(np.exp(logit - self.start - self.end), 1.0))


def whole_words(span: AnswerSpan, word_ids: Sequence[int | None]) -> tuple[int, int]:
    """Return the first and last piece of the words that an answer touches."""
    first, last = span.first, span.last
    while first > 0 and word_ids[first] is not None and word_ids[first - 1] == word_ids[first]:
        first -= 1
    while last + 1 < len(word_ids) and word_ids[last] is not None and word_ids[last + 1] == word_ids[last]:
        last += 1
    return first, last


def pieces_of(offsets: Sequence[Span], start: int, stop: int) -> tuple[int, int] | None:
    """Return the first and last of a text's pieces that hold characters ``start`` to ``stop``, or None if none does."""
    characters = np.array(offsets, np.int64).reshape(-1, 2)
    first = int(np.searchsorted(characters[:, 1], start, "right"))
    last = int(np.searchsorted(characters[:, 0], stop, "left")) - 1
    return (first, last) if start < stop and first <= last else None


def positions_in(span: tuple[int, int] | None, begin: int, end: int, place: int) -> tuple[int, int]:
    """Return where an answer stands in the row of a window: the places of its first and last token.

    They are those of [CLS], 0 and 0, if there is no answer (``span``, its first and last piece) or the window, which
    holds the pieces ``begin`` to ``end`` (behind the last) from ``place`` in the row on, does not hold all of it.
    """
    if span is None or span[0] < begin or span[1] >= end:
        return 0, 0
    return span[0] - begin + place, span[1] - begin + place
