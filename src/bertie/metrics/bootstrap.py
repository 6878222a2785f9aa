"""The Poisson bootstrap: each replicate weighs each row by a draw from Poisson(1)."""

from collections.abc import Callable
from math import exp, factorial

import numpy as np
from numpy.typing import NDArray

# Rows times replicates that are drawn at once.
DRAWN = 500_000
# Rows whose statistics are held at once.
SUMMED = 10_000

# The quantiles of Poisson(1) at 65,536 even places: a draw is then one look-up, not a loop.
_BELOW = np.cumsum([exp(-1) / factorial(count) for count in range(12)])
_QUANTILES = np.searchsorted(_BELOW, (np.arange(65_536) + 0.5) / 65_536, side="right").astype(np.float32)

Statistics = Callable[[NDArray], NDArray]


def sums(statistics: Statistics, rows: NDArray) -> NDArray:
    """Return the sums ``[K]`` of the statistics ``[n, K]`` of rows ``[n, k]``."""
    parts = (statistics(rows[first : first + SUMMED]).sum(axis=0) for first in range(0, len(rows), SUMMED))
    return np.sum(list(parts), axis=0)


def resampled_sums(statistics: Statistics, rows: NDArray, replicates: int, seed: int) -> NDArray:
    """Return the replicates' sums ``[replicates, K]``; one seed weighs the rows of any two systems alike."""
    random = np.random.default_rng(seed)
    found = np.zeros((replicates, statistics(rows[:0]).shape[1]))
    step = max(1, DRAWN // max(1, replicates))
    for first in range(0, len(rows) if replicates else 0, step):
        # float32 takes half the time, and is exact for counts; what it adds up is rounded far below what is drawn
        part = statistics(rows[first : first + step]).astype(np.float32)
        found += weights(random, replicates, len(part)) @ part
    return found


def weights(random: np.random.Generator, replicates: int, rows: int) -> NDArray:
    """Return draws from Poisson(1), float32 ``[replicates, rows]``."""
    return _QUANTILES.take(random.integers(0, len(_QUANTILES), (replicates, rows), dtype=np.uint16), mode="clip")
