"""Rankings: candidates put in order for a query, pairs of a query and a passage, and partners found among many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, plural
from bertie.metrics.bootstrap import ratio
from bertie.metrics.multiple_choice import MultipleChoiceMetric
from bertie.metrics.streaming import Additive, Sums

# Passages that are at least half as relevant as can be are taken for relevant where only yes and no are counted.
HALF = 0.5


@dataclass(frozen=True)
class RankingMetric(Additive):
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


@dataclass(frozen=True)
class RerankingMetric:
    """Predictions: pairs of a query and its passage's score (0 to 1). Labels: the relevance, from 0 to 1.

    Figures: those of `RankingMetric` over the queries, and ``accuracy``: how often score and relevance lie on the same
    side of 0.5. Where no query has two passages there is nothing to rank within one, and all rows are one ranking:
    ``map`` is then their average precision. Rows of a query may stand anywhere: three numbers a row are kept.

    Args:
        main: the figure that stands for all.
    """

    main: str = "map"
    names: ClassVar[tuple[str, ...]] = ("mrr", "ndcg@10", "map", "accuracy")

    def collect(self, systems: int, replicates: int, seed: int) -> "Grouped":
        """Return an empty collector."""
        return Grouped(systems, replicates, seed)


class Grouped:
    """The collector of `RerankingMetric`: each row's query, scores and relevance."""

    def __init__(self, systems: int, replicates: int, seed: int) -> None:
        self.count = 0
        self._systems, self._replicates, self._seed = systems, replicates, seed
        self._numbers: dict[str, int] = {}
        self._queries: list[int] = []
        self._parts: list[NDArray] = []

    def add(self, predictions: Sequence[Any], labels: Any) -> None:
        """Take in rows; a query is known by its text.

        Raises:
            InputError: a score or relevance that is no finite number.
        """
        columns = [*([score for _, score in given] for given in predictions), labels]
        rows = np.stack([np.asarray(column, np.float64).reshape(-1) for column in columns], axis=1)
        if not np.isfinite(rows).all():
            raise InputError("A score or relevance is not finite; a ranking needs finite numbers.")
        for query, _ in predictions[0]:
            self._queries.append(self._numbers.setdefault(query, len(self._numbers)))
        self._parts.append(rows)
        self.count += len(rows)

    def figures(self) -> list[dict[str, float]]:
        both = zip(self._ranked().figures(), self._decided().figures(), strict=True)
        return [ranked | decided for ranked, decided in both]

    def resampled(self) -> list[dict[str, NDArray]]:
        both = zip(self._ranked().resampled(), self._decided().resampled(), strict=True)
        return [ranked | decided for ranked, decided in both]

    def table(self) -> list[dict[str, Any]]:
        return []

    def notes(self) -> list[str]:
        groups = self._groups()
        if len(groups) == 1:
            return ["All rows are one ranking, whose figures have no interval: map is their average precision."]
        lacking = sum(not (group[:, -1] > 0).any() for group in groups)
        if not lacking:
            return []
        of_all = f"{lacking:,} of {len(groups):,} queries {plural(lacking, 'has', 'have')}"
        return [f"{of_all} no relevant passage and {plural(lacking, 'counts', 'count')} 0."]

    def _rows(self) -> NDArray:
        """Return the systems' scores and, last, the relevance, ``[n, systems + 1]``."""
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def _groups(self) -> list[NDArray]:
        """Return the rows of each query."""
        rows, queries = self._rows(), np.array(self._queries)
        if len(self._numbers) == len(rows):
            return [rows]
        order = np.argsort(queries, kind="stable")
        return np.split(rows[order], np.flatnonzero(np.diff(queries[order])) + 1)

    def _ranked(self) -> Sums:
        """Return the collector of a ranking a query."""
        groups = self._groups()
        # one ranking tells nothing of how much another sample would differ
        sums = RankingMetric().collect(self._systems, self._replicates if len(groups) > 1 else 0, self._seed)
        sums.add([list(_column(groups, system)) for system in range(self._systems)], list(_column(groups, -1)))
        return sums

    def _decided(self) -> Sums:
        """Return the collector of yes and no a row."""
        sums = MultipleChoiceMetric().collect(self._systems, self._replicates, self._seed)
        *said, gold = (self._rows() >= HALF).astype(np.int64).T
        sums.add(said, gold)
        return sums


def _column(groups: list[NDArray], column: int) -> Iterator[NDArray]:
    return (group[:, column] for group in groups)


@dataclass(frozen=True)
class RetrievalMetric(Additive):
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
