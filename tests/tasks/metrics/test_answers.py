"""Answers are compared as SQuAD's scripts define it, and a ranking's figures are scikit-learn's."""

import re
import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from bertie.errors import InputError
from bertie.tasks.metrics import Answers, Ranking, Scores
from bertie.tasks.metrics.answers import normalize

TEXTS = st.text(alphabet="aAn thecat,.-é1'’", max_size=12)


def definition(text: str) -> list[str]:
    """Return a text's words by the definition: lower case, no punctuation, no articles, white space."""
    kept = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def overlap(said: str, right: str, empty: bool) -> float:
    """Return the F1 of two texts' words; with ``empty`` (v2.0) two texts without words agree."""
    words, others = definition(said), definition(right)
    if empty and not (words and others):
        return float(words == others)
    common = sum((Counter(words) & Counter(others)).values())
    if not common:
        return 0.0
    precision, recall = common / len(words), common / len(others)
    return 2 * precision * recall / (precision + recall)


@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=3)), min_size=1, max_size=8), st.booleans())
@settings(deadline=None)
def test_answers_equal_the_definition(rows: list, unanswerable: bool) -> None:
    exact, f1 = [], []
    for said, right in rows:
        if unanswerable:
            right = [text for text in right if definition(text)] or [""]
        exact.append(max((definition(said) == definition(text) for text in right), default=0))
        f1.append(max((overlap(said, text, unanswerable) for text in right), default=0))
    scores = Scores(Answers(unanswerable=unanswerable), replicates=10)
    scores.add(*zip(*rows, strict=True))
    assert scores.figures()["exact_match"] == pytest.approx(np.mean(exact))
    assert scores.figures()["f1"] == pytest.approx(np.mean(f1))
    assert set(scores.intervals()) == set(scores.figures())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("The  Cat, an  animal.", "cat animal"), ("the", ""), ("U.S.A.", "usa"), ("a’s", "’s"), ("\tan\nox", "ox")],
)
def test_normalising(text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_questions_with_and_without_an_answer() -> None:
    scores = Scores(Answers(unanswerable=True))
    scores.add(["the red cat", "", "something", ""], [["red cat", "cat"], ["dog"], [], ["a"]])
    assert scores.figures() == pytest.approx(
        {
            "exact_match": 2 / 4,
            "f1": 2 / 4,
            "HasAns_exact": 1 / 2,
            "HasAns_f1": 1 / 2,
            "NoAns_exact": 1 / 2,
            "NoAns_f1": 1 / 2,
        }
    )
    only = Scores(Answers(unanswerable=True))
    only.add(["red"], [["red cat"]])
    assert only.figures() == pytest.approx({"exact_match": 0, "f1": 2 / 3})
    assert only.notes() == ["Every question has an answer."]


def test_a_list_of_right_answers_is_asked_for() -> None:
    with pytest.raises(InputError, match="Question 0 has the prediction 'cat'; give a text, and a list of right ones"):
        Scores(Answers()).add(["cat"], ["cat"])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1000)), min_size=2, max_size=15, unique_by=lambda x: x[1]))
@settings(deadline=None)
def test_ranking_equals_scikit_learn(candidates: list) -> None:
    relevance, given_scores = np.array(candidates).T
    scores = Scores(Ranking(), replicates=0)
    scores.add([given_scores], [relevance])
    figures = scores.figures()
    if not relevance.any():
        assert set(figures.values()) == {0.0}
        return
    assert figures["ndcg@10"] == pytest.approx(sklearn.ndcg_score([relevance], [given_scores], k=10))
    assert figures["map"] == pytest.approx(sklearn.average_precision_score(relevance > 0, given_scores))
    first = next(rank for rank, at in enumerate(np.argsort(-given_scores), start=1) if relevance[at])
    assert figures["mrr"] == pytest.approx(1 / first)


def test_equal_scores_count_against_the_system() -> None:
    scores = Scores(Ranking(cut=1))
    scores.add([[0.5, 0.5, 0.5], [2, 1]], [[1, 0, 0], [1, 0]])
    assert scores.figures() == pytest.approx({"mrr": (1 / 3 + 1) / 2, "ndcg@1": 1 / 2, "map": (1 / 3 + 1) / 2})


def test_a_score_for_each_candidate() -> None:
    with pytest.raises(InputError, match=r"Query 0 has scores of shape \[2\] for 3 candidates"):
        Scores(Ranking()).add([[0.5, 0.5]], [[1, 0, 0]])
