"""The Poisson bootstrap over sums: each replicate weighs each row by a draw from Poisson(1), in constant memory."""

from collections.abc import Callable, Sequence
from math import exp, factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rows are gathered to this many before equal ones are counted, so that the figures do not depend on how they came in.
BLOCK = 65_536
# Distinct rows that are kept; beyond, they become sums.
LIMIT = 65_536
# Rows times replicates that are drawn at once.
DRAWN = 2_000_000

Statistics = Callable[[NDArray], NDArray]


class BootstrapSums:
    """Distinct rows and how often each came, as long as they are few; beyond that, their sums and resampled sums.

    The weights of ``c`` equal rows sum to a draw from Poisson(c), so rows that are equal cost one draw together, and
    a million predictions of a few classes are resampled in milliseconds. The replicates depend on the rows and the
    seed alone, not on the sizes in which rows were added (nor on their order until there are more than `LIMIT`).

    Args:
        statistics: rows ``[n, k]`` → what is summed, float64 ``[n, K]``.
        replicates: resampled sums to make; 0 makes none and costs nothing.
        seed: of the draws.
    """

    def __init__(self, statistics: Statistics, replicates: int, seed: int) -> None:
        self.count = 0
        self._statistics, self._replicates, self._seed = statistics, replicates, seed
        self._waiting: list[NDArray] = []
        self._length = 0
        self._rows: NDArray | None = None
        self._counts = np.zeros(0)
        self._folded: tuple[NDArray, NDArray] | None = None
        self._folds = 0

    def add(self, rows: NDArray) -> None:
        """Take in rows ``[n, k]``, of the same ``k`` and dtype in every call."""
        self.count += len(rows)
        self._length += len(rows)
        self._waiting.append(rows)
        if self._length < BLOCK:
            return
        rows = np.concatenate(self._waiting)
        whole = len(rows) // BLOCK * BLOCK
        for first in range(0, whole, BLOCK):
            self._rows, self._counts = self._with(rows[first : first + BLOCK])
            if len(self._counts) > LIMIT:
                self._folded = self._fold()
                self._folds += 1
                self._rows = None
        self._waiting, self._length = [rows[whole:].copy()], len(rows) - whole

    def sums(self) -> NDArray:
        """Return the sums of all rows' statistics ``[K]``."""
        return self._all(0)[0]

    def resampled(self) -> NDArray:
        """Return the replicates' sums ``[replicates, K]``."""
        return self._all(self._replicates)[1]

    def distinct(self) -> tuple[NDArray, NDArray] | None:
        """Return the distinct rows ``[U, k]`` and their counts ``[U]``; None if they were too many to keep."""
        if self._folded is not None or not self.count:
            return None
        return self._with(np.concatenate(self._waiting))

    def _all(self, replicates: int) -> tuple[NDArray, NDArray]:
        rows, counts = self._with(np.concatenate(self._waiting))
        sums, resampled = self._summed(rows, counts, replicates)
        if self._folded is None:
            return sums, resampled
        return self._folded[0] + sums, self._folded[1][:replicates] + resampled

    def _with(self, rows: NDArray) -> tuple[NDArray, NDArray]:
        """Return the kept rows together with these, each once and in order, and their counts."""
        counts = np.ones(len(rows))
        if self._rows is not None:
            rows = np.concatenate([self._rows, rows])
            counts = np.concatenate([self._counts, counts])
        # bytes sort ten times faster than rows of numbers; which order it is does not matter
        keys = np.ascontiguousarray(rows).view(f"S{rows.shape[1] * rows.itemsize}")[:, 0]
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        return rows[first], np.bincount(inverse, weights=counts, minlength=len(first))

    def _fold(self) -> tuple[NDArray, NDArray]:
        assert self._rows is not None
        sums, resampled = self._summed(self._rows, self._counts, self._replicates)
        if self._folded is not None:
            sums, resampled = sums + self._folded[0], resampled + self._folded[1]
        return sums, resampled

    def _summed(self, rows: NDArray, counts: NDArray, replicates: int) -> tuple[NDArray, NDArray]:
        random = np.random.default_rng([self._seed, self._folds])
        width = self._statistics(rows[:0]).shape[1]
        sums, resampled = np.zeros(width), np.zeros((replicates, width))
        step = DRAWN // max(1000, replicates)
        for first in range(0, len(rows), step):
            part, times = self._statistics(rows[first : first + step]), counts[first : first + step]
            sums += times @ part
            if replicates:
                resampled += weights(random, times, replicates) @ part
        return sums, resampled


def weights(random: np.random.Generator, counts: NDArray, replicates: int) -> NDArray:
    """Return draws from Poisson(count) for each count in each replicate, float64 ``[replicates, len(counts)]``."""
    drawn = _ONE[random.integers(0, len(_ONE), (replicates, len(counts)), dtype=np.uint16)]
    several = counts != 1
    drawn[:, several] = random.poisson(counts[several], (replicates, int(several.sum())))
    return drawn


def _poisson_of_one() -> NDArray:
    """Return the quantiles of Poisson(1) at 65,536 even places: a draw is then one look-up, not a loop."""
    below = np.cumsum([exp(-1) / factorial(count) for count in range(12)])
    return np.searchsorted(below, (np.arange(65_536) + 0.5) / 65_536, side="right").astype(np.float64)


_ONE = _poisson_of_one()


def ratio(part: NDArray, whole: NDArray) -> NDArray:
    """Return ``part / whole``, and 0 where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


def precision_recall_f1(right: NDArray, predicted: NDArray, gold: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return the three of counts of any shape."""
    return ratio(right, predicted), ratio(right, gold), ratio(2 * right, predicted + gold)


def averages(right: NDArray, predicted: NDArray, gold: NDArray) -> dict[str, NDArray]:
    """Return the averages over classes of counts ``[..., C]``: each class alike (macro), by support, and pooled."""
    precision, recall, f1 = precision_recall_f1(right, predicted, gold)
    pooled = precision_recall_f1(right.sum(-1), predicted.sum(-1), gold.sum(-1))
    return {
        "precision_macro": precision.mean(-1),
        "recall_macro": recall.mean(-1),
        "f1_macro": f1.mean(-1),
        "precision_micro": pooled[0],
        "recall_micro": pooled[1],
        "f1_micro": pooled[2],
        "f1_weighted": ratio((f1 * gold).sum(-1), gold.sum(-1)),
    }


def rows_of_table(labels: Sequence[str], right: NDArray, predicted: NDArray, gold: NDArray) -> list[dict[str, Any]]:
    """Return one row a class from counts ``[C]``: label, precision, recall, f1, support and predicted."""
    columns = np.stack([*precision_recall_f1(right, predicted, gold)], axis=1).tolist()
    return [
        {
            "label": label,
            "precision": values[0],
            "recall": values[1],
            "f1": values[2],
            "support": int(there),
            "predicted": int(said),
        }
        for label, values, there, said in zip(labels, columns, gold, predicted, strict=True)
    ]


def split(sums: NDArray, parts: int) -> tuple[NDArray, ...]:
    """Return sums ``[..., parts · C]`` as ``parts`` arrays ``[..., C]``."""
    return tuple(np.split(sums, parts, axis=-1))
