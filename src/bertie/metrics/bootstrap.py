"""The Poisson bootstrap: each replicate weights each row by a draw from Poisson(1)."""

from collections.abc import Callable
from math import exp, factorial

import numpy as np
from numpy.typing import NDArray

MAX_DRAWS = 500_000  # rows × replicates drawn at once
MAX_ROWS = 10_000  # rows whose statistics are held in memory at once

# The inverse CDF of Poisson(1) at 65,536 evenly spaced points, so that a draw is one look-up.
_CDF = np.cumsum([exp(-1) / factorial(count) for count in range(12)])
_QUANTILES = np.searchsorted(_CDF, (np.arange(65_536) + 0.5) / 65_536, side="right").astype(np.float32)

Statistics = Callable[[NDArray], NDArray]


def sums(statistics: Statistics, rows: NDArray) -> NDArray:
    """Return the sums ``[K]`` of the statistics ``[n, K]`` of rows ``[n, k]``."""
    parts = (statistics(rows[first : first + MAX_ROWS]).sum(axis=0) for first in range(0, len(rows), MAX_ROWS))
    return np.sum(list(parts), axis=0)


def resampled_sums(statistics: Statistics, rows: NDArray, replicates: int, seed: int) -> NDArray:
    """Return each replicate's sums ``[replicates, K]``; the same seed gives any two systems the same row weights."""
    random = np.random.default_rng(seed)
    totals = np.zeros((replicates, statistics(rows[:0]).shape[1]))
    step = max(1, MAX_DRAWS // max(1, replicates))
    for first in range(0, len(rows) if replicates else 0, step):
        # float32 takes half the time and is exact for counts; its rounding is negligible beside the sampling noise
        part = statistics(rows[first : first + step]).astype(np.float32)
        totals += weights(random, replicates, len(part)) @ part
    return totals


def weights(random: np.random.Generator, replicates: int, rows: int) -> NDArray:
    """Return draws from Poisson(1), float32 ``[replicates, rows]``."""
    return _QUANTILES.take(random.integers(0, len(_QUANTILES), (replicates, rows), dtype=np.uint16), mode="clip")
