"""Streaming evaluation: predictions and labels come in parts of any size; figures, intervals and tables come out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics.bootstrap import BootstrapSums

REPLICATES = 1000

Figures = dict[str, float | None]
Intervals = dict[str, tuple[float, float] | None]


class Collector(Protocol):
    """What a metric gathers of the rows, for one system or for several on the same rows."""

    @property
    def count(self) -> int:
        """The rows so far."""

    def add(self, predictions: Sequence[Any], labels: Any) -> None:
        """Take in rows: the predictions of each system, and the labels."""

    def figures(self) -> list[dict[str, float]]:
        """Return the figures of each system; NaN for one that is undefined."""

    def resampled(self) -> list[dict[str, NDArray]]:
        """Return each system's figures in each replicate, the same rows weighed alike for all of them."""

    def table(self) -> list[dict[str, Any]]:
        """Return the first system's figures of each class; empty if there are no classes."""

    def notes(self) -> list[str]:
        """Return sentences on what its reader should know of the first system's figures."""


class Metric(Protocol):
    """A way to score predictions.

    Attributes:
        main: the figure that stands for all of them, in early stopping and headlines; higher is better.
        names: of all figures that there may be.
    """

    names: ClassVar[tuple[str, ...]]

    @property
    def main(self) -> str: ...

    def collect(self, systems: int, replicates: int, seed: int) -> Collector:
        """Return an empty collector."""


class Additive:
    """A metric whose figures follow from sums over rows. A subclass says what a row's share is."""

    def rows(self, predictions: Any, labels: Any) -> NDArray:
        """Return what is kept of each row ``[n, k]``, in few bytes; rows that count alike should be equal.

        Raises:
            InputError: a prediction or label that this metric does not know.
        """
        raise NotImplementedError

    def statistics(self, rows: NDArray) -> NDArray:
        """Return what is summed, float64 ``[n, K]``."""
        raise NotImplementedError

    def figures(self, sums: NDArray) -> dict[str, NDArray]:
        """Return the figures ``[...]`` that follow from sums ``[..., K]``; NaN where one is undefined."""
        raise NotImplementedError

    def table(self, sums: NDArray) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return a row for each class from the sums ``[K]``."""
        return []

    def notes(self, sums: NDArray) -> list[str]:  # noqa: ARG002
        """Return what should be known of figures from the sums ``[K]``."""
        return []

    def collect(self, systems: int, replicates: int, seed: int) -> "Sums":
        """Return an empty collector."""
        return Sums(self, systems, replicates, seed)


class Sums:
    """The collector of an additive metric, in constant memory."""

    def __init__(self, metric: Additive, systems: int, replicates: int, seed: int) -> None:
        self._metric, self._systems = metric, systems
        self.tally = BootstrapSums(self._statistics, replicates, seed)

    @property
    def count(self) -> int:
        return self.tally.count

    def add(self, predictions: Sequence[Any], labels: Any) -> None:
        self.tally.add(np.hstack([self._metric.rows(given, labels) for given in predictions]))

    def figures(self) -> list[dict[str, float]]:
        return [{name: float(value) for name, value in self._metric.figures(sums).items()} for sums in self._sums()]

    def resampled(self) -> list[dict[str, NDArray]]:
        return [self._metric.figures(sums) for sums in np.split(self.tally.resampled(), self._systems, axis=-1)]

    def table(self) -> list[dict[str, Any]]:
        return self._metric.table(self._sums()[0])

    def notes(self) -> list[str]:
        return self._metric.notes(self._sums()[0])

    def _sums(self) -> list[NDArray]:
        return np.split(self.tally.sums(), self._systems)

    def _statistics(self, rows: NDArray) -> NDArray:
        return np.hstack([self._metric.statistics(part) for part in np.split(rows, self._systems, axis=1)])


class Scores:
    """The quality of one system.

    Args:
        metric: what to compute.
        replicates: bootstrap replicates for `intervals`; 0 makes none, for evaluations that nobody reads.
        seed: of the bootstrap.
    """

    def __init__(self, metric: Metric, replicates: int = REPLICATES, seed: int = 0) -> None:
        self.metric = metric
        self.collector = metric.collect(1, replicates, seed)

    @property
    def count(self) -> int:
        """The rows so far."""
        return self.collector.count

    def add(self, predictions: Any, labels: Any) -> None:
        """Take in predictions and their labels, as many of each.

        Raises:
            InputError: their numbers differ, or the metric does not know one of them.
        """
        _check_lengths({"predictions": predictions, "labels": labels})
        if len(labels):
            self.collector.add([predictions], labels)

    def figures(self) -> Figures:
        """Return each figure; None for one that these rows leave undefined (`notes` says why).

        Raises:
            InputError: there are no rows.
        """
        _check_any(self.count)
        return _plain(self.collector.figures()[0])

    def intervals(self, level: float = 0.95) -> Intervals:
        """Return (low, high) of each figure: the percentile interval of a Poisson bootstrap over rows.

        It says how much another sample of as many rows might have given; not how much another training might. On a
        handful of rows, and for a figure of 0 or 1, it is too narrow.

        Raises:
            InputError: there are no rows, or the level is not between 0 and 1.
        """
        _check_any(self.count)
        return _intervals(self.figures(), self.collector.resampled()[0], level)

    def table(self) -> list[dict[str, Any]]:
        """Return the figures of each class: label, precision, recall, f1, support (its rows); empty without classes."""
        _check_any(self.count)
        return self.collector.table()

    def notes(self) -> list[str]:
        """Return a sentence for whatever makes a figure undefined or less than it seems."""
        _check_any(self.count)
        return self.collector.notes()


class Differences:
    """What a first system is better by than a second one, on the same rows: a paired bootstrap.

    Args:
        metric: what to compute.
        replicates: bootstrap replicates for `intervals`.
        seed: of the bootstrap.
    """

    def __init__(self, metric: Metric, replicates: int = REPLICATES, seed: int = 0) -> None:
        self.metric = metric
        self._collector = metric.collect(2, replicates, seed)

    @property
    def count(self) -> int:
        """The rows so far."""
        return self._collector.count

    def add(self, first: Any, second: Any, labels: Any) -> None:
        """Take in the two systems' predictions for the same rows.

        Raises:
            InputError: as in `Scores.add`.
        """
        _check_lengths({"first predictions": first, "second predictions": second, "labels": labels})
        if len(labels):
            self._collector.add([first, second], labels)

    def figures(self) -> Figures:
        """Return each figure of the first system minus that of the second; None if either is undefined."""
        _check_any(self.count)
        first, second = self._collector.figures()
        return _plain({name: first[name] - second[name] for name in first if name in second})

    def intervals(self, level: float = 0.95) -> Intervals:
        """Return (low, high) of each difference, as `Scores.intervals`; one that holds 0 shows no winner."""
        figures = self.figures()
        first, second = self._collector.resampled()
        return _intervals(figures, {name: first[name] - second[name] for name in first}, level)


def _plain(figures: Mapping[str, float]) -> Figures:
    # NaN is not JSON
    return {name: float(value) if math.isfinite(value) else None for name, value in figures.items()}


def _intervals(figures: Figures, resampled: Mapping[str, NDArray], level: float) -> Intervals:
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}; an interval's level lies between 0 and 1, such as 0.95.")
    ends = ((1 - level) / 2, (1 + level) / 2)
    found: Intervals = {}
    for name, figure in figures.items():
        values = resampled.get(name, np.zeros(0))
        values = values[np.isfinite(values)]
        if figure is None or not len(values):
            found[name] = None
        else:
            low, high = np.quantile(values, ends)
            found[name] = (float(low), float(high))
    return found


def _check_lengths(given: Mapping[str, Any]) -> None:
    lengths = {name: len(values) for name, values in given.items()}
    if len(set(lengths.values())) > 1:
        listed = " and ".join(f"{length} {name}" for name, length in lengths.items())
        raise InputError(f"There are {listed}; give one of each for every row.")


def _check_any(count: int) -> None:
    if not count:
        raise InputError("There are no rows to score; give at least one prediction with its label.")
