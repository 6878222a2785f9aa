"""Multi-label metrics equal scikit-learn's on random inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from bertie.errors import InputError
from bertie.metrics import MultiLabelMetric, Scores

NAMES = ("anger", "joy", "fear", "calm")
DECISIONS = st.lists(st.tuples(*[st.booleans()] * 8), min_size=1, max_size=30)


@given(DECISIONS)
@settings(deadline=None)
def test_labels_equal_scikit_learn(decisions: list) -> None:
    predictions, labels = np.split(np.array(decisions), 2, axis=1)
    scores = Scores(MultiLabelMetric(NAMES), replicates=0)
    scores.add(predictions, labels)
    metrics = scores.metrics()
    for average in ("macro", "micro", "weighted"):
        expected = sklearn.f1_score(labels, predictions, average=average, zero_division=0)
        assert metrics[f"f1_{average}"] == pytest.approx(expected)
    assert metrics["precision_micro"] == pytest.approx(
        sklearn.precision_score(labels, predictions, average="micro", zero_division=0)
    )
    assert metrics["recall"] == pytest.approx(
        sklearn.recall_score(labels, predictions, average="macro", zero_division=0)
    )
    assert metrics["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, predictions))
    assert metrics["hamming"] == pytest.approx(sklearn.hamming_loss(labels, predictions))


def test_labels_never_predicted_are_named() -> None:
    scores = Scores(MultiLabelMetric(("a", "b", "c")))
    scores.add([[1, 0, 0], [1, 0, 0]], [[1, 1, 0], [0, 1, 0]])
    assert scores.notes() == [
        "No row has the label 'c': F1 there is 0 and lowers the macro averages.",
        "Never predicted: 'b'.",
    ]


def test_probabilities_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="apply the thresholds first"):
        Scores(MultiLabelMetric(("a", "b"))).add([[0.2, 1]], [[0, 1]])
    with pytest.raises(InputError, match=r"shape \[1, 3\]; it must be \[n, 2\]"):
        Scores(MultiLabelMetric(("a", "b"))).add([[0, 1, 1]], [[0, 1, 1]])


def test_at_most_eight_absent_labels_are_named() -> None:
    scores = Scores(MultiLabelMetric([f"l{number}" for number in range(12)]), replicates=0)
    scores.add(np.eye(1, 12, dtype=bool), np.eye(1, 12, dtype=bool))
    assert scores.notes()[0] == (
        "No row has the label 'l1', 'l2', 'l3', 'l4', 'l5', 'l6', 'l7', 'l8' and 3 more: F1 there is 0 and lowers the "
        "macro averages."
    )
