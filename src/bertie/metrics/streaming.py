"""Streaming evaluation: predictions and labels come in parts of any size; figures, intervals and tables come out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, counted
from bertie.metrics.bootstrap import resampled_sums, sums

REPLICATES = 1000
# 95 % of the replicates lie between these quantiles.
ENDS = (0.025, 0.975)

# the figures of which less is better
LOWER = frozenset({"loss", "perplexity", "mse", "mae", "hamming"})

# a value a row, of any type that the metric names
Given = Sequence[Any] | NDArray[Any]
Figures = dict[str, float | None]
Intervals = dict[str, tuple[float, float] | None]


class Metric:
    """A way to score predictions: rows are kept, and summed up into what figures, table and notes are made of."""

    main: ClassVar[str]  # the figure that is shown alone and chosen by; higher is better
    names: ClassVar[tuple[str, ...]]  # of all figures that there may be
    meaning: str = ""  # what names such as f1 stand for, in a sentence without a full stop

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        """Return what is kept of each row ``[n, k]``, in few bytes."""
        raise NotImplementedError

    def summary(self, rows: NDArray) -> NDArray:
        """Return what the figures follow from; by default all rows."""
        return rows

    def figures(self, summary: NDArray) -> Mapping[str, Any]:
        """Return the figures of a summary; NaN for one that is undefined."""
        raise NotImplementedError

    def resampled(self, rows: NDArray, replicates: int, seed: int) -> Mapping[str, NDArray]:
        """Return the figures of each replicate ``[replicates]``; one seed weighs the rows of any two systems alike."""
        raise NotImplementedError

    def table(self, summary: NDArray) -> list[dict[str, Any]]:
        """Return a row for each class."""
        return []

    def notes(self, summary: NDArray) -> list[str]:
        """Return sentences on what a reader of the figures should know."""
        return []


class Additive(Metric):
    """A metric whose figures follow from sums over rows. A subclass says what a row's share is."""

    def statistics(self, rows: NDArray) -> NDArray:
        """Return what is summed, float64 ``[n, K]``; by default the rows themselves."""
        return np.asarray(rows, np.float64)

    def figures(self, summary: NDArray) -> dict[str, NDArray]:
        """Return the figures ``[...]`` that follow from sums ``[..., K]``; NaN where one is undefined."""
        raise NotImplementedError

    def summary(self, rows: NDArray) -> NDArray:
        return sums(self.statistics, rows)

    def resampled(self, rows: NDArray, replicates: int, seed: int) -> dict[str, NDArray]:
        return self.figures(resampled_sums(self.statistics, rows, replicates, seed))


class Scores:
    """The quality of one system; with 0 ``replicates`` there are no intervals, for evaluations that nobody reads."""

    def __init__(self, metric: Metric, replicates: int = REPLICATES, seed: int = 0) -> None:
        self.metric = metric
        self.count = 0
        self._replicates, self._seed = replicates, seed
        self._parts: list[NDArray] = []
        self._summed: NDArray | None = None

    def add(self, predictions: Given, labels: Given) -> None:
        """Take in predictions and their labels, as many of each."""
        if len(predictions) != len(labels):
            raise InputError(
                f"There are {len(predictions)} predictions and {len(labels)} labels; give one of each for every row."
            )
        if len(labels):
            self._parts.append(self.metric.rows(predictions, labels))
            self._summed = None
            self.count += len(labels)

    def rows(self) -> NDArray:
        """Return all rows as the metric keeps them."""
        if not self.count:
            raise InputError("There are no rows to score; give at least one prediction with its label.")
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def figures(self) -> Figures:
        """Return each figure; None for one that these rows leave undefined (`notes` says why)."""
        # NaN is not JSON
        figures = self.metric.figures(self._summary())
        return {name: float(value) if math.isfinite(value) else None for name, value in figures.items()}

    def intervals(self) -> Intervals:
        """Return the 95 % percentile interval of each figure, (low, high), by a Poisson bootstrap over rows.

        It says nothing of another training, and is too narrow on a handful of rows and for a figure of 0 or 1.
        """
        resampled = self.resampled()
        return {
            name: None if figure is None else interval(resampled.get(name, np.zeros(0)))
            for name, figure in self.figures().items()
        }

    def resampled(self) -> Mapping[str, NDArray]:
        """Return each figure in each replicate; those of two systems on the same rows may be subtracted (paired)."""
        return self.metric.resampled(self.rows(), self._replicates, self._seed)

    def table(self) -> list[dict[str, Any]]:
        """Return the figures of each class: label, precision, recall, f1, support (its rows); empty without classes."""
        return self.metric.table(self._summary())

    def notes(self) -> list[str]:
        """Return a sentence for whatever makes a figure undefined or less than it seems."""
        return self.metric.notes(self._summary())

    def _summary(self) -> NDArray:
        if self._summed is None:
            self._summed = self.metric.summary(self.rows())
        return self._summed


def paired_difference(first: Scores, second: Scores) -> tuple[Figures, Intervals]:
    """Return how much larger each figure of the first is, on the same rows, and its paired bootstrap interval."""
    if first.count != second.count:
        raise InputError(
            f"The first model was scored on {counted(first.count, 'row')} and the second on {second.count}; compare "
            "them on rows that both can be scored on."
        )
    mine, theirs = first.figures(), second.figures()
    # one seed weighs the same rows alike for both
    replicates, paired = first.resampled(), second.resampled()
    difference: Figures = {}
    ends: Intervals = {}
    for name, figure in mine.items():
        other = theirs.get(name)
        known = figure is not None and other is not None
        difference[name] = figure - other if known else None  # type: ignore[operator]
        is_resampled = known and name in replicates and name in paired
        ends[name] = interval(replicates[name] - paired[name]) if is_resampled else None
    return difference, ends


def interval(values: NDArray) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of a figure's replicates; None if it is undefined in all of them."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, ENDS)
    return float(low), float(high)
