"""Ranking metrics: candidates ranked for a query, scored query–passage pairs, and retrieval of partners."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, plural
from bertie.metrics.means import Means, MultipleChoiceMetric
from bertie.metrics.streaming import Additive, Given, Metric

# The share of the highest relevance from which on a passage counts as relevant where relevance must be binary.
RELEVANT = 0.5


class RankingMetric(Means):
    """Predictions: the scores of each query's candidates. Labels: their relevance (0: not relevant; more is better).

    Metrics: ``mrr`` (mean reciprocal rank of the first relevant candidate), ``ndcg@10`` (gain = relevance, discount
    1 / log2(rank + 1)) and ``map`` (mean average precision); a query without a relevant candidate counts 0. Ties count
    against the system: of equal scores the less relevant candidate is ranked first.
    """

    main = "mrr"
    names = ("mrr", "ndcg@10", "map")

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        return np.array([self._query(at, *query) for at, query in enumerate(zip(predictions, labels, strict=True))])

    def _query(self, at: int, scores: Any, relevance: Any) -> tuple[float, float, float]:
        scores, relevance = np.asarray(scores, np.float64), np.asarray(relevance, np.float64)
        if scores.shape != relevance.shape or scores.ndim != 1 or not np.isfinite(scores).all():
            raise InputError(
                f"Query {at} has scores of shape {list(scores.shape)} for {relevance.size} candidates; "
                "give one finite score per candidate."
            )
        if not (relevance > 0).any():
            return 0.0, 0.0, 0.0
        ranked = relevance[np.lexsort((relevance, -scores))]
        places = np.flatnonzero(ranked > 0) + 1
        precision = np.arange(1, len(places) + 1) / places
        return float(1 / places[0]), _gain(ranked) / _gain(np.sort(relevance)[::-1]), float(precision.mean())


def _gain(ranked: NDArray) -> float:
    top = ranked[:10]
    return float((top / np.log2(np.arange(2, len(top) + 2))).sum())


class RerankingMetric(Metric):
    """Predictions: pairs of a query and its passage's score (0 to 1). Labels: the relevance, from 0 to 1.

    Metrics: those of `RankingMetric` over the queries, and ``accuracy``: how often score and relevance lie on the same
    side of 0.5. If no query has two passages, nothing can be ranked within a query, and all rows form one ranking:
    ``map`` is then their average precision. Rows are grouped by the query's text, wherever they stand.
    """

    main = "map"
    names = (*RankingMetric.names, "accuracy")

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        # columns: query, score, relevance
        rows = np.empty((len(labels), 3), object)
        rows[:, 0] = [query for query, _ in predictions]
        rows[:, 1], rows[:, 2] = [score for _, score in predictions], np.asarray(labels, np.float64).reshape(-1)
        if not np.isfinite(_numbers(rows)).all():
            raise InputError("A score or relevance is not finite; a ranking needs finite numbers.")
        return rows

    def compute(self, summary: NDArray) -> dict[str, NDArray]:
        return self._of(summary, lambda metric, rows: metric.compute(metric.summary(rows)))

    def resampled(self, rows: NDArray, replicates: int, seed: int) -> dict[str, NDArray]:
        # a single ranking says nothing about how much another sample would differ
        is_single = len(_rankings(rows)) == 1
        found = self._of(rows, lambda metric, rows: metric.resampled(rows, replicates, seed))
        return {name: values for name, values in found.items() if name == "accuracy" or not is_single}

    def notes(self, summary: NDArray) -> list[str]:
        rankings = _rankings(summary)
        if len(rankings) == 1:
            return ["All rows form one ranking, whose metrics have no interval: map is its average precision."]
        lacking = sum(not (ranking[:, 1] > 0).any() for ranking in rankings)
        if not lacking:
            return []
        of_all = f"{lacking:,} of {len(rankings):,} queries {plural(lacking, 'has', 'have')}"
        return [f"{of_all} no relevant passage and {plural(lacking, 'counts', 'count')} 0."]

    def _of(self, rows: NDArray, compute: Callable[[Additive, NDArray], dict[str, NDArray]]) -> dict[str, NDArray]:
        """Return what ``compute`` gives for the rankings, one per query, and for relevant or not, one per row."""
        ranking, choice = RankingMetric(), MultipleChoiceMetric()
        scores, relevance = zip(*(each.T for each in _rankings(rows)), strict=True)
        predicted, gold = (_numbers(rows) >= RELEVANT).astype(np.int64).T
        return compute(ranking, ranking.rows(scores, relevance)) | compute(choice, choice.rows(predicted, gold))


def _numbers(rows: NDArray) -> NDArray:
    """Return score and relevance ``[n, 2]``."""
    return rows[:, 1:].astype(np.float64)


def _rankings(rows: NDArray) -> list[NDArray]:
    """Return score and relevance of each query's rows, ``[m, 2]``; one ranking of all rows if no query has two."""
    numbers: dict[Any, int] = {}
    queries = np.array([numbers.setdefault(query, len(numbers)) for query in rows[:, 0]])
    if len(numbers) == len(rows):
        return [_numbers(rows)]
    order = np.argsort(queries, kind="stable")
    return np.split(_numbers(rows)[order], np.flatnonzero(np.diff(queries[order])) + 1)


class RetrievalMetric(Means):
    """Predictions: the rank of each row's partner, int ``[n]`` from 1. Labels are ignored.

    Metrics: ``mrr`` (mean reciprocal rank), ``recall@1`` and ``recall@10``. They depend on the number of candidates.
    """

    main = "mrr"
    names = ("mrr", "recall@1", "recall@10")

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        ranks = np.asarray(predictions)
        if ranks.dtype.kind not in "iu" or ranks.ndim != 1 or (ranks < 1).any():
            raise InputError(
                f"Ranks are {ranks.dtype} of shape {list(ranks.shape)}; give one integer of at least 1 per row."
            )
        return np.stack([1 / ranks, ranks <= 1, ranks <= 10], axis=1)
