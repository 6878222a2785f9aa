"""The Poisson bootstrap: each replicate weighs each row by a draw from Poisson(1). And ratios of what is summed."""

from collections.abc import Callable, Sequence
from math import exp, factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.messages import listed

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


def ratio(part: NDArray, whole: NDArray) -> NDArray:
    """Return ``part / whole``, and 0 where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


def precision_recall_f1(right: NDArray, predicted: NDArray, gold: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return the three of counts of any shape."""
    return ratio(right, predicted), ratio(right, gold), ratio(2 * right, predicted + gold)


def averages(right: NDArray, predicted: NDArray, gold: NDArray) -> dict[str, NDArray]:
    """Return the averages over classes of counts ``[..., C]``: each class alike (macro), by support, and pooled."""
    of_each = precision_recall_f1(right, predicted, gold)
    pooled = precision_recall_f1(right.sum(-1), predicted.sum(-1), gold.sum(-1))
    found = {"f1_weighted": ratio((of_each[2] * gold).sum(-1), gold.sum(-1))}
    for name, values, value in zip(("precision", "recall", "f1"), of_each, pooled, strict=True):
        found |= {f"{name}_macro": values.mean(-1), f"{name}_micro": value}
    return found


def rows_of_table(labels: Sequence[str], right: NDArray, predicted: NDArray, gold: NDArray) -> list[dict[str, Any]]:
    """Return one row a class from counts ``[C]``."""
    columns = [values.tolist() for values in (*precision_recall_f1(right, predicted, gold), gold, predicted)]
    return [
        {"label": label, "precision": p, "recall": r, "f1": f1, "support": int(there), "predicted": int(said)}
        for label, p, r, f1, there, said in zip(labels, *columns, strict=True)
    ]


def absent_classes(labels: Sequence[str], gold: NDArray) -> list[str]:
    """Return a sentence if there are classes without a row."""
    absent = [label for label, rows in zip(labels, gold, strict=True) if not rows]
    what = f"No row has the label {listed(absent, 8)}: F1 there is 0 and lowers the macro averages."
    return [what] if absent else []


def split(sums: NDArray, parts: int) -> tuple[NDArray, ...]:
    """Return sums ``[..., parts · C]`` as ``parts`` arrays ``[..., C]``."""
    return tuple(np.split(sums, parts, axis=-1))
