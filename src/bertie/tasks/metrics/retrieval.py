"""Partners looked for among many: how early the right one comes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.tasks.metrics.ratios import ratio
from bertie.tasks.metrics.scores import Additive


@dataclass(frozen=True)
class Retrieval(Additive):
    """Predictions: the rank of each row's partner, int ``[n]`` from 1. Labels are not looked at.

    Figures: ``mrr`` (one over the rank), ``recall@1`` and ``recall@10``. They depend on how many were looked among.

    Args:
        main: the figure that stands for all.
    """

    main: str = "mrr"
    names: ClassVar[tuple[str, ...]] = ("mrr", "recall@1", "recall@10")

    def rows(self, predictions: Any, labels: Any) -> NDArray:
        """Return the ranks, int64 ``[n, 1]``."""
        del labels
        ranks = np.asarray(predictions)
        if ranks.dtype.kind not in "iu" or ranks.ndim != 1 or (ranks < 1).any():
            raise InputError(f"Ranks are {ranks.dtype} of shape {list(ranks.shape)}; give one integer from 1 a row.")
        return ranks.astype(np.int64)[:, None]

    def statistics(self, rows: NDArray) -> NDArray:
        """Return reciprocal rank, found first, found among the first ten, and a 1 ``[n, 4]``."""
        return np.hstack([1 / rows, rows <= 1, rows <= 10, np.ones_like(rows)])

    def figures(self, sums: NDArray) -> dict[str, NDArray]:
        """Return the figures named above."""
        names = ("mrr", "recall@1", "recall@10")
        return {name: ratio(sums[..., column], sums[..., 3]) for column, name in enumerate(names)}
