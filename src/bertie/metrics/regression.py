"""One number a row: Pearson's and Spearman's correlation, mean squared and mean absolute error."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics.bootstrap import BootstrapSums, ratio, weights

# Cells of the grid of ranks on which Spearman's correlation is resampled, and values held at once while doing so.
CELLS = 65_536
HELD = 4_000_000


@dataclass(frozen=True)
class RegressionMetric:
    """Predictions and labels float ``[n]`` or ``[n, 1]``.

    Figures: ``pearson``, ``spearman`` (equal numbers share their average rank), ``mse``, ``mae``. A correlation with
    numbers that are all the same is undefined: None, and `Scores.notes` says so. Ranks need all rows: two floats a
    row are kept.

    Args:
        main: the figure that stands for all.
    """

    main: str = "spearman"
    names: ClassVar[tuple[str, ...]] = ("pearson", "spearman", "mse", "mae")

    def collect(self, systems: int, replicates: int, seed: int) -> "Pairs":
        """Return an empty collector."""
        return Pairs(systems, replicates, seed)


class Pairs:
    """The collector of `RegressionMetric`: each system's prediction and the label of every row."""

    def __init__(self, systems: int, replicates: int, seed: int) -> None:
        self.count = 0
        self._systems, self._replicates, self._seed = systems, replicates, seed
        self._parts: list[NDArray] = []

    def add(self, predictions: Sequence[Any], labels: Any) -> None:
        columns = [*(_numbers("prediction", given) for given in predictions), _numbers("label", labels)]
        self._parts.append(np.stack(columns, axis=1))
        self.count += len(labels)

    def figures(self) -> list[dict[str, float]]:
        columns = self._columns()
        ranked = [ranks(column) for column in columns]
        return [
            {
                "pearson": correlation(columns[system], columns[-1]),
                "spearman": correlation(ranked[system], ranked[-1]),
                "mse": float(np.mean((columns[system] - columns[-1]) ** 2)),
                "mae": float(np.mean(np.abs(columns[system] - columns[-1]))),
            }
            for system in range(self._systems)
        ]

    def resampled(self) -> list[dict[str, NDArray]]:
        columns = self._columns()
        moments = np.split(self._moments(columns), self._systems, axis=-1)
        spearman = self._spearman(columns)
        return [{**_of_moments(sums), "spearman": ranked} for sums, ranked in zip(moments, spearman, strict=True)]

    def table(self) -> list[dict[str, Any]]:
        return []

    def notes(self) -> list[str]:
        columns = self._columns()
        if self.count == 1:
            return ["A single row has no correlation."]
        return [
            f"The {what} are all {column[0]:.6g}: there is no correlation with them."
            for what, column in (("predictions", columns[0]), ("labels", columns[-1]))
            if np.ptp(column) == 0
        ]

    def _columns(self) -> NDArray:
        """Return the systems' predictions and, last, the labels ``[systems + 1, n]``."""
        self._parts = [np.concatenate(self._parts)]
        return np.ascontiguousarray(self._parts[0].T)

    def _moments(self, columns: NDArray) -> NDArray:
        """Return resampled sums ``[replicates, 8 · systems]`` of products of the numbers, less their means."""
        # less the means, because sums of squares of large numbers lose what correlation is made of
        means = columns.mean(axis=1)

        def statistics(rows: NDArray) -> NDArray:
            gold = rows[:, -1]
            parts = []
            for system in range(self._systems):
                said = rows[:, system]
                error = said + means[system] - gold - means[-1]
                products = (np.ones_like(said), said, gold, said * said, gold * gold, said * gold, error**2, abs(error))
                parts.append(np.stack(products, axis=1))
            return np.hstack(parts)

        tally = BootstrapSums(statistics, self._replicates, self._seed)
        tally.add((columns - means[:, None]).T)
        return tally.resampled()

    def _spearman(self, columns: NDArray) -> list[NDArray]:
        """Return each system's resampled correlations of ranks ``[replicates]``, moved to surround the exact one.

        Ranks are rounded to a grid of `CELLS` (256 levels for one system), on which each replicate ranks anew.
        """
        levels = int(CELLS ** (1 / len(columns)))
        places = np.stack([_levels(column, levels) for column in columns])
        shape = tuple(places.max(axis=1) + 1)
        counts = np.bincount(np.ravel_multi_index(tuple(places), shape), minlength=int(np.prod(shape)))
        filled = np.flatnonzero(counts)
        random = np.random.default_rng(self._seed)
        step = max(1, HELD // len(counts))
        found = []
        for first in range(0, self._replicates, step):
            size = min(step, self._replicates - first)
            grid = np.zeros((size, len(counts)))
            grid[:, filled] = weights(random, counts[filled], size)
            found.append(_of_grid(grid.reshape(size, *shape)))
        coarse = _of_grid(counts.astype(np.float64).reshape(1, *shape))[:, 0]
        exact = [figures["spearman"] for figures in self.figures()]
        joined = np.concatenate(found, axis=1) if found else np.zeros((self._systems, 0))
        return [np.clip(joined[system] + exact[system] - coarse[system], -1, 1) for system in range(self._systems)]


def correlation(first: NDArray, second: NDArray) -> float:
    """Return Pearson's correlation of two float arrays ``[n]``; NaN where either is constant."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    # scaled to 1 first: squares of tiny or huge numbers would leave the range of floats
    first, second = (_scaled(values - values.mean()) for values in (first, second))
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.clip((first @ second) / norms, -1, 1)) if norms else float("nan")


def ranks(values: NDArray) -> NDArray:
    """Return the ranks from 1 of ``[n]`` numbers as float64; equal numbers share their average rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _scaled(values: NDArray) -> NDArray:
    largest = np.abs(values).max()
    return values / largest if largest else values


def _levels(values: NDArray, levels: int) -> NDArray:
    """Return the rank of each number on a scale of at most ``levels``, int64; equal numbers stay equal."""
    distinct, inverse = np.unique(values, return_inverse=True)
    if len(distinct) <= levels:
        return inverse
    return ((ranks(values) - 0.5) / len(values) * levels).astype(np.int64)


def _of_grid(grid: NDArray) -> NDArray:
    """Return the rank correlations of each axis with the last ``[systems, R]`` from weights ``[R, …axes]``."""
    axes = range(1, grid.ndim)
    marginals = [grid.sum(axis=tuple(other for other in axes if other != axis)) for axis in axes]
    ranked = [np.cumsum(sums, axis=1) - sums / 2 for sums in marginals]
    total = marginals[-1].sum(axis=1, keepdims=True)
    ranked = [values - total / 2 for values in ranked]
    spreads = [(sums * values**2).sum(axis=1) for sums, values in zip(marginals, ranked, strict=True)]
    found = []
    for system in range(grid.ndim - 2):
        others = tuple(axis for axis in axes if axis not in (system + 1, grid.ndim - 1))
        pairs = grid.sum(axis=others) if others else grid
        covariance = ((pairs @ ranked[-1][..., None])[..., 0] * ranked[system]).sum(axis=1)
        product = spreads[system] * spreads[-1]
        found.append(np.where(product > 0, ratio(covariance, np.sqrt(product)), np.nan))
    return np.stack(found)


def _of_moments(sums: NDArray) -> dict[str, NDArray]:
    rows, said, gold, said2, gold2, product, squared, absolute = np.moveaxis(sums, -1, 0)
    total = np.where(rows > 0, rows, np.nan)
    spreads = (said2 - said**2 / total, gold2 - gold**2 / total)
    # what rounding leaves of the spread of constant numbers is no spread
    constant = (spreads[0] <= 1e-12 * said2) | (spreads[1] <= 1e-12 * gold2)
    norms = np.where(constant, np.nan, np.sqrt(np.maximum(spreads[0], 0)) * np.sqrt(np.maximum(spreads[1], 0)))
    return {
        "pearson": np.clip((product - said * gold / total) / norms, -1, 1),
        "mse": squared / total,
        "mae": absolute / total,
    }


def _numbers(what: str, given: Any) -> NDArray:
    values = np.asarray(given)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind not in "fiub" or values.ndim != 1:
        raise InputError(f"{what}s are {values.dtype} of shape {list(values.shape)}; give one number a row.")
    values = values.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise InputError(f"{what} {wrong[0]} is {values[wrong[0]]}; a score needs finite numbers.")
    return values
