"""Ranking metrics equal scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from bertie.errors import InputError
from bertie.metrics import RankingMetric, Scores


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1000)), min_size=2, max_size=15, unique_by=lambda x: x[1]))
@settings(deadline=None)
def test_ranking_equals_scikit_learn(candidates: list) -> None:
    relevance, given_scores = np.array(candidates).T
    scores = Scores(RankingMetric(), replicates=0)
    scores.add([given_scores], [relevance])
    metrics = scores.metrics()
    if not relevance.any():
        assert set(metrics.values()) == {0.0}
        return
    assert metrics["ndcg@10"] == pytest.approx(sklearn.ndcg_score([relevance], [given_scores], k=10))
    assert metrics["map"] == pytest.approx(sklearn.average_precision_score(relevance > 0, given_scores))
    first = next(rank for rank, at in enumerate(np.argsort(-given_scores), start=1) if relevance[at])
    assert metrics["mrr"] == pytest.approx(1 / first)


def test_ties_count_against_the_system() -> None:
    scores = Scores(RankingMetric())
    scores.add([[0.5, 0.5, 0.5], [2, 1]], [[1, 0, 0], [1, 0]])
    # the discount of rank 3 is 1 / log2(4)
    assert scores.metrics() == pytest.approx({"mrr": (1 / 3 + 1) / 2, "ndcg@10": 3 / 4, "map": (1 / 3 + 1) / 2})


def test_every_candidate_needs_a_score() -> None:
    with pytest.raises(InputError, match=r"Query 0 has scores of shape \[2\] for 3 candidates"):
        Scores(RankingMetric()).add([[0.5, 0.5]], [[1, 0, 0]])
