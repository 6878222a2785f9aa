"""Answers are compared as SQuAD's scripts do."""

import re
import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import InputError
from bertie.metrics import QuestionAnsweringMetric, Scores
from bertie.metrics.question_answering import normalize

TEXTS = st.text(alphabet="aAn thecat,.-é1'’", max_size=12)


def definition(text: str) -> list[str]:
    """Return a text's words by SQuAD's definition: lower-cased, without punctuation and articles, split at spaces."""
    kept = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def overlap(predicted: str, right: str, empty: bool) -> float:
    """Return the F1 of two texts' words; with ``empty`` (v2.0) two texts without words agree."""
    words, others = definition(predicted), definition(right)
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
    for predicted, right in rows:
        if unanswerable:
            right = [text for text in right if definition(text)] or [""]
        exact.append(max((definition(predicted) == definition(text) for text in right), default=0))
        f1.append(max((overlap(predicted, text, unanswerable) for text in right), default=0))
    scores = Scores(QuestionAnsweringMetric(unanswerable=unanswerable), replicates=10)
    scores.add(*zip(*rows, strict=True))
    assert scores.metrics()["exact_match"] == pytest.approx(np.mean(exact))
    assert scores.metrics()["f1"] == pytest.approx(np.mean(f1))
    assert set(scores.intervals()) == set(scores.metrics())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("The  Cat, an  animal.", "cat animal"), ("the", ""), ("U.S.A.", "usa"), ("a’s", "’s"), ("\tan\nox", "ox")],
)
def test_normalising(text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_questions_with_and_without_an_answer() -> None:
    scores = Scores(QuestionAnsweringMetric(unanswerable=True))
    scores.add(["the red cat", "", "something", ""], [["red cat", "cat"], ["dog"], [], ["a"]])
    assert scores.metrics() == pytest.approx(
        {
            "exact_match": 2 / 4,
            "f1": 2 / 4,
            "HasAns_exact": 1 / 2,
            "HasAns_f1": 1 / 2,
            "NoAns_exact": 1 / 2,
            "NoAns_f1": 1 / 2,
        }
    )
    only = Scores(QuestionAnsweringMetric(unanswerable=True))
    only.add(["red"], [["red cat"]])
    assert only.metrics() == pytest.approx({"exact_match": 0, "f1": 2 / 3})
    assert only.notes() == ["Every question has an answer."]


def test_labels_must_be_lists_of_answers() -> None:
    message = "Question 0 has the prediction 'cat' and the label 'cat'; give a text and a list of gold answers"
    with pytest.raises(InputError, match=message):
        Scores(QuestionAnsweringMetric()).add(["cat"], ["cat"])
