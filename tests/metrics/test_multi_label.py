"""Figures of label sets equal scikit-learn's on inputs of every shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from bertie.errors import InputError
from bertie.metrics import MultiLabelMetric, Scores

NAMES = ("anger", "joy", "fear", "calm")
SWITCHES = st.lists(st.tuples(*[st.booleans()] * 8), min_size=1, max_size=30)


@given(SWITCHES)
@settings(deadline=None)
def test_labels_equal_scikit_learn(switches: list) -> None:
    predictions, labels = np.split(np.array(switches), 2, axis=1)
    scores = Scores(MultiLabelMetric(NAMES), replicates=0)
    scores.add(predictions, labels)
    figures = scores.figures()
    for average in ("macro", "micro", "weighted"):
        expected = sklearn.f1_score(labels, predictions, average=average, zero_division=0)
        assert figures[f"f1_{average}"] == pytest.approx(expected)
    assert figures["precision_micro"] == pytest.approx(
        sklearn.precision_score(labels, predictions, average="micro", zero_division=0)
    )
    assert figures["recall"] == pytest.approx(
        sklearn.recall_score(labels, predictions, average="macro", zero_division=0)
    )
    assert figures["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, predictions))
    assert figures["hamming"] == pytest.approx(sklearn.hamming_loss(labels, predictions))


def test_labels_never_predicted_are_named() -> None:
    scores = Scores(MultiLabelMetric(("a", "b", "c")))
    scores.add([[1, 0, 0], [1, 0, 0]], [[1, 1, 0], [0, 1, 0]])
    assert scores.notes() == [
        "No row has the label 'c': F1 there is 0 and lowers the macro averages.",
        "Never predicted: 'b'.",
    ]


def test_probabilities_are_no_switches() -> None:
    with pytest.raises(InputError, match="apply the thresholds first"):
        Scores(MultiLabelMetric(("a", "b"))).add([[0.2, 1]], [[0, 1]])
    with pytest.raises(InputError, match=r"shape \[1, 3\]; give one of 2 switches"):
        Scores(MultiLabelMetric(("a", "b"))).add([[0, 1, 1]], [[0, 1, 1]])


def test_of_many_labels_without_a_row_eight_are_named() -> None:
    scores = Scores(MultiLabelMetric([f"l{number}" for number in range(12)]), replicates=0)
    scores.add(np.eye(1, 12, dtype=bool), np.eye(1, 12, dtype=bool))
    assert scores.notes()[0] == (
        "No row has the label 'l1', 'l2', 'l3', 'l4', 'l5', 'l6', 'l7', 'l8' and 3 more: F1 there is 0 and lowers the "
        "macro averages."
    )
