"""One number per row: Pearson's and Spearman's correlation, mean squared and mean absolute error."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics.bootstrap import MAX_DRAWS, weights
from bertie.metrics.streaming import Given, Metric


class RegressionMetric(Metric):
    """Predictions and labels float ``[n]`` or ``[n, 1]``.

    Metrics: ``pearson``, ``spearman`` (ties share their average rank), ``mse``, ``mae``. A correlation with constant
    numbers is undefined: None, and `Scores.notes` says so.
    """

    main = "spearman"
    names = ("pearson", "spearman", "mse", "mae")

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        return np.stack([_numbers("prediction", predictions), _numbers("label", labels)], axis=1)

    def compute(self, summary: NDArray) -> dict[str, NDArray]:
        once = np.ones((1, len(summary)))
        return {name: values[0] for name, values in _WeightedRows(summary).compute(once).items()}

    def resampled(self, rows: NDArray, replicates: int, seed: int) -> dict[str, NDArray]:
        weighted, random = _WeightedRows(rows), np.random.default_rng(seed)
        step = max(1, MAX_DRAWS // len(rows))
        found = {name: np.zeros(replicates) for name in self.names}
        for first in range(0, replicates, step):
            part = slice(first, min(replicates, first + step))
            drawn = weights(random, part.stop - first, len(rows)).astype(np.float64)
            for name, values in weighted.compute(drawn).items():
                found[name][part] = values
        return found

    def notes(self, summary: NDArray) -> list[str]:
        if len(summary) == 1:
            return ["A single row has no correlation."]
        return [
            f"The {what} are all {column[0]:.6g}: there is no correlation with them."
            for what, column in zip(("predictions", "labels"), summary.T, strict=True)
            if np.ptp(column) == 0
        ]


class _WeightedRows:
    """Rows ``[n, 2]`` of prediction and label, under weights that say how often each row occurs."""

    def __init__(self, rows: NDArray) -> None:
        predicted, gold = np.ascontiguousarray(rows.T)
        self._moments, self._ranks = _row_moments(predicted, gold), (_WeightedRanks(predicted), _WeightedRanks(gold))

    def compute(self, drawn: NDArray) -> dict[str, NDArray]:
        """Return the metrics ``[R]`` under weights ``[R, n]``."""
        (own, spread), (other, other_spread) = (each.of(drawn) for each in self._ranks)
        norms = np.sqrt(spread * other_spread)
        spearman = np.einsum("rn,rn,rn->r", drawn, own, other) / np.where(norms > 0, norms, np.nan)
        found = {**_from_moments(drawn @ self._moments), "spearman": np.clip(spearman, -1, 1)}
        return {name: found[name] for name in RegressionMetric.names}


class _WeightedRanks:
    """The ranks of numbers ``[n]``, under weights that say how often each occurs; ties share their mean rank."""

    def __init__(self, values: NDArray) -> None:
        _, self._place, counts = np.unique(values, return_inverse=True, return_counts=True)
        self._order = np.argsort(values, kind="stable")
        self._starts = np.cumsum(counts) - counts

    def of(self, drawn: NDArray) -> tuple[NDArray, NDArray]:
        """Return the centred ranks ``[R, n]`` and their sums of squares ``[R]`` under weights ``[R, n]``."""
        mass = np.add.reduceat(drawn.take(self._order, axis=1), self._starts, axis=1)
        middle = np.cumsum(mass, axis=1)
        total = middle[:, -1:].copy()
        middle -= (mass + total) / 2
        squares = (total[:, 0] ** 3 - np.einsum("ru,ru,ru->r", mass, mass, mass)) / 12
        return middle.take(self._place, axis=1), squares


def _row_moments(x: NDArray, y: NDArray) -> NDArray:
    """Return each row's share of the sums that the metrics follow from, float64 ``[n, 8]``."""
    error = x - y
    # centred, because sums of squares of large numbers cancel catastrophically; and scaled to 1, because squares of
    # tiny or huge numbers would underflow or overflow
    x, y = (values - values.mean() for values in (x, y))
    x, y = (values / (np.abs(values).max() or 1) for values in (x, y))
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y, error**2, abs(error)], axis=1)


def _from_moments(sums: NDArray) -> dict[str, NDArray]:
    rows, x, y, xx, yy, xy, squared, absolute = np.moveaxis(sums, -1, 0)
    total = np.where(rows > 0, rows, np.nan)
    spreads = (xx - x**2 / total, yy - y**2 / total)
    # the rounding error that is left of a constant's variance does not count as variance
    constant = (spreads[0] <= 1e-12 * xx) | (spreads[1] <= 1e-12 * yy)
    norms = np.where(constant, np.nan, np.sqrt(np.maximum(spreads[0], 0)) * np.sqrt(np.maximum(spreads[1], 0)))
    return {
        "pearson": np.clip((xy - x * y / total) / norms, -1, 1),
        "mse": squared / total,
        "mae": absolute / total,
    }


def _numbers(what: str, given: Any) -> NDArray:
    values = np.asarray(given)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind not in "fiub" or values.ndim != 1:
        raise InputError(f"{what}s are {values.dtype} of shape {list(values.shape)}; give one number per row.")
    values = values.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise InputError(f"{what} {wrong[0]} is {values[wrong[0]]}; it must be finite.")
    return values
