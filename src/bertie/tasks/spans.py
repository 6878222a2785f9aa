"""Answer spans: the best of a context read in windows, their probabilities, and the token positions to learn."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.tasks.arrays import log_sum_exp
from bertie.tokenization.pieces import Span

Floats = NDArray[np.floating[Any]]


class WindowScores(NamedTuple):
    """The logits of the pieces of a context that one window holds."""

    first: int  # the window's first piece, numbered in the context
    start: Floats  # [n], the start logits
    end: Floats  # [n], the end logits
    owned: range  # the pieces, numbered in the context, that have the most context in this window
    null: tuple[float, float]  # the start and end logit of [CLS], which stand for "no answer"

    @property
    def own(self) -> slice:
        """The owned pieces, numbered in the window."""
        return slice(self.owned.start - self.first, self.owned.stop - self.first)


class AnswerSpan(NamedTuple):
    """An answer: the pieces ``first`` to ``last`` of the context, inclusive, and the sum of start and end logit."""

    first: int
    last: int
    logit: float


def best_spans(windows: Sequence[WindowScores], count: int, longest: int) -> list[AnswerSpan]:
    """Return up to ``count`` answers of at most ``longest`` pieces, best first.

    Both logits are taken from the window that owns an answer's start, as in BERT's own evaluation. Ties are broken in
    favour of the earlier, then the shorter answer.
    """
    found = [span for window in windows for span in _best_of_window(window, count, longest)]
    return sorted(found, key=lambda span: (-span.logit, span.first, span.last))[:count]


def _best_of_window(window: WindowScores, count: int, longest: int) -> list[AnswerSpan]:
    starts = np.arange(window.own.start, window.own.stop)
    width = min(longest, len(window.end))
    if not len(starts):
        return []
    # row i: answers that start at owned piece i; column j: answers of j + 1 pieces
    ends = np.concatenate((window.end.astype(np.float64), np.full(width, -np.inf)))
    sums = window.start[starts].astype(np.float64)[:, None] + ends[starts[:, None] + np.arange(width)]
    lowest = np.partition(sums, -count, axis=None)[-count] if count < sums.size else -np.inf
    rows, columns = np.nonzero((sums >= lowest) & (sums > -np.inf))
    firsts = rows + window.owned.start
    return list(map(AnswerSpan, firsts.tolist(), (firsts + columns).tolist(), sums[rows, columns].tolist()))


def null_scores(windows: Sequence[WindowScores]) -> tuple[float, float]:
    """Return the logits of "no answer": the lowest of all windows, since any of them may hold the answer."""
    return min((window.null for window in windows), key=sum)


class Normalizer(NamedTuple):
    """The log-sum-exps of start and of end logits."""

    start: float
    end: float

    @classmethod
    def of(cls, windows: Sequence[WindowScores]) -> "Normalizer":
        """Return the normalizer of a context: each piece counts in the window that owns it, and [CLS] once."""
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
    """Return the first and last of a text's pieces that overlap characters ``start:stop``, or None if none does."""
    characters = np.array(offsets, np.int64).reshape(-1, 2)
    first = int(np.searchsorted(characters[:, 1], start, "right"))
    last = int(np.searchsorted(characters[:, 0], stop, "left")) - 1
    return (first, last) if start < stop and first <= last else None


def positions_in(span: tuple[int, int] | None, begin: int, end: int, place: int) -> tuple[int, int]:
    """Return the positions of an answer's first and last token in a window's row.

    ``span`` is its first and last piece. The window holds the pieces ``begin:end``, from position ``place`` in the row;
    if there is no answer, or it does not lie within the window, the positions are those of [CLS], 0 and 0.
    """
    if span is None or span[0] < begin or span[1] >= end:
        return 0, 0
    return span[0] - begin + place, span[1] - begin + place
