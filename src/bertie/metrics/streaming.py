"""Streaming evaluation: predictions and labels in chunks of any size in; metrics, intervals and tables out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, counted
from bertie.metrics.bootstrap import resampled_sums, sums

REPLICATES = 1000
INTERVAL = (0.025, 0.975)  # the quantiles of the replicates that bound a 95 % interval

LOWER_IS_BETTER = frozenset({"loss", "perplexity", "mse", "mae", "hamming"})

# one value per row, of the type that the metric documents
Given = Sequence[Any] | NDArray[Any]
MetricValues = dict[str, float | None]
Intervals = dict[str, tuple[float, float] | None]


class Metric:
    """A way to score predictions: rows are kept compactly, then summarized into metrics, a table and notes."""

    main: ClassVar[str]  # the metric to report if only one is, and to select models by; higher is better
    names: ClassVar[tuple[str, ...]]  # of all metrics it may compute
    meaning: str = ""  # explains names such as f1, in a sentence without a full stop

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        """Return what is kept of each row ``[n, k]``, in few bytes."""
        raise NotImplementedError

    def summary(self, rows: NDArray) -> NDArray:
        """Return what the metrics are computed from; by default all rows."""
        return rows

    def compute(self, summary: NDArray) -> Mapping[str, Any]:
        """Return the metrics of a summary; NaN where one is undefined."""
        raise NotImplementedError

    def resampled(self, rows: NDArray, replicates: int, seed: int) -> Mapping[str, NDArray]:
        """Return each replicate's metrics ``[replicates]``; the same seed gives any two systems the same weights."""
        raise NotImplementedError

    def table(self, summary: NDArray) -> list[dict[str, Any]]:
        """Return one row per class."""
        return []

    def notes(self, summary: NDArray) -> list[str]:
        """Return caveats that a reader of the metrics should know, one sentence each."""
        return []


class Additive(Metric):
    """A metric that is computed from sums over rows. A subclass says what each row contributes."""

    def statistics(self, rows: NDArray) -> NDArray:
        """Return what each row adds to the sums, float64 ``[n, K]``; by default the rows themselves."""
        return np.asarray(rows, np.float64)

    def compute(self, summary: NDArray) -> dict[str, NDArray]:
        """Return the metrics ``[...]`` from sums ``[..., K]``; NaN where one is undefined."""
        raise NotImplementedError

    def summary(self, rows: NDArray) -> NDArray:
        return sums(self.statistics, rows)

    def resampled(self, rows: NDArray, replicates: int, seed: int) -> dict[str, NDArray]:
        return self.compute(resampled_sums(self.statistics, rows, replicates, seed))


class Scores:
    """The scores of one system; with 0 ``replicates`` no intervals are computed."""

    def __init__(self, metric: Metric, replicates: int = REPLICATES, seed: int = 0) -> None:
        self.metric = metric
        self.count = 0
        self._replicates, self._seed = replicates, seed
        self._parts: list[NDArray] = []
        self._summed: NDArray | None = None

    def add(self, predictions: Given, labels: Given) -> None:
        """Add predictions and as many labels."""
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

    def metrics(self) -> MetricValues:
        """Return each metric; None where these rows leave it undefined (`notes` says why)."""
        # None, because JSON has no NaN
        values = self.metric.compute(self._summary())
        return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}

    def intervals(self) -> Intervals:
        """Return the 95 % percentile interval of each metric, (low, high), by a Poisson bootstrap over rows.

        It does not cover the variance between training runs, and is too narrow for a handful of rows and for a metric
        of 0 or 1.
        """
        resampled = self.resampled()
        return {
            name: None if value is None else interval(resampled.get(name, np.zeros(0)))
            for name, value in self.metrics().items()
        }

    def resampled(self) -> Mapping[str, NDArray]:
        """Return each metric in each replicate; those of two systems on the same rows are paired."""
        return self.metric.resampled(self.rows(), self._replicates, self._seed)

    def table(self) -> list[dict[str, Any]]:
        """Return per class: label, precision, recall, f1, support (its rows), predicted; empty without classes."""
        return self.metric.table(self._summary())

    def notes(self) -> list[str]:
        """Return a sentence for whatever makes a metric undefined or less meaningful than it seems."""
        return self.metric.notes(self._summary())

    def _summary(self) -> NDArray:
        if self._summed is None:
            self._summed = self.metric.summary(self.rows())
        return self._summed


def paired_difference(first: Scores, second: Scores) -> tuple[MetricValues, Intervals]:
    """Return the differences of all metrics, first minus second, on the same rows, and their paired intervals."""
    if first.count != second.count:
        raise InputError(
            f"The first model was scored on {counted(first.count, 'row')} and the second on {second.count}; compare "
            "them on rows that both can be scored on."
        )
    mine, theirs = first.metrics(), second.metrics()
    # the same seed gives the same rows the same weights in both
    replicates, paired = first.resampled(), second.resampled()
    differences: MetricValues = {}
    intervals: Intervals = {}
    for name, value in mine.items():
        other = theirs.get(name)
        known = value is not None and other is not None
        differences[name] = value - other if known else None  # type: ignore[operator]
        is_resampled = known and name in replicates and name in paired
        intervals[name] = interval(replicates[name] - paired[name]) if is_resampled else None
    return differences, intervals


def interval(values: NDArray) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of a metric's replicates; None if it is undefined in all of them."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, INTERVAL)
    return float(low), float(high)
