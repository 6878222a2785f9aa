"""Candidates put in order for a query: mean reciprocal rank, nDCG and mean average precision."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.tasks.metrics.ratios import ratio
from bertie.tasks.metrics.scores import Additive


@dataclass(frozen=True)
class Ranking(Additive):
    """Predictions: for each query its candidates' scores. Labels: their relevance (0: not relevant; more is better).

    Figures: ``mrr`` (one over the rank of the first relevant candidate), ``ndcg@10`` (gain = relevance, discount
    1 / log2(rank + 1)) and ``map`` (mean average precision); a query without a relevant candidate counts 0. Equal
    scores count against the system: the less relevant candidate is taken to stand first.

    Args:
        cut: ranks that nDCG looks at; the figure bears it in its name.
        main: the figure that stands for all.
    """

    cut: int = 10
    main: str = "mrr"
    names: ClassVar[tuple[str, ...]] = ("mrr", "ndcg@10", "map")

    def rows(self, predictions: Any, labels: Any) -> NDArray:
        """Return reciprocal rank, nDCG and average precision of each query, float64 ``[n, 3]``."""
        return np.array([self._query(at, *query) for at, query in enumerate(zip(predictions, labels, strict=True))])

    def statistics(self, rows: NDArray) -> NDArray:
        """Return the three and a 1 ``[n, 4]``."""
        return np.hstack([rows, np.ones((len(rows), 1))])

    def figures(self, sums: NDArray) -> dict[str, NDArray]:
        """Return the figures named above."""
        names = ("mrr", f"ndcg@{self.cut}", "map")
        return {name: ratio(sums[..., column], sums[..., 3]) for column, name in enumerate(names)}

    def _query(self, at: int, scores: Any, relevance: Any) -> tuple[float, float, float]:
        scores, relevance = np.asarray(scores, np.float64), np.asarray(relevance, np.float64)
        if scores.shape != relevance.shape or scores.ndim != 1 or not np.isfinite(scores).all():
            raise InputError(
                f"Query {at} has scores of shape {list(scores.shape)} for {relevance.size} candidates; "
                "give one finite score a candidate."
            )
        if not (relevance > 0).any():
            return 0.0, 0.0, 0.0
        ranked = relevance[np.lexsort((relevance, -scores))]
        places = np.flatnonzero(ranked > 0) + 1
        precision = np.arange(1, len(places) + 1) / places
        return float(1 / places[0]), self._gain(ranked) / self._gain(np.sort(relevance)[::-1]), float(precision.mean())

    def _gain(self, ranked: NDArray) -> float:
        top = ranked[: self.cut]
        return float((top / np.log2(np.arange(2, len(top) + 2))).sum())
