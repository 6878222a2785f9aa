"""Figures of classes and of label sets equal scikit-learn's on inputs of every shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from bertie.errors import InputError
from bertie.tasks.metrics import Classes, Labels, Scores

NAMES = ("anger", "joy", "fear", "calm")
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)
SWITCHES = st.lists(st.tuples(*[st.booleans()] * 8), min_size=1, max_size=30)


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(PAIRS)
@settings(deadline=None)
def test_classes_equal_scikit_learn(pairs: list) -> None:
    predictions, labels = np.array(pairs).T
    scores = Scores(Classes(NAMES), replicates=0)
    scores.add(predictions, labels)
    figures = scores.figures()
    keys = {"labels": range(4), "zero_division": 0}
    assert figures["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, predictions))
    assert figures["matthews"] == pytest.approx(sklearn.matthews_corrcoef(labels, predictions), abs=1e-9)
    for average in ("macro", "micro", "weighted"):
        expected = sklearn.f1_score(labels, predictions, average=average, **keys)
        assert figures[f"f1_{average}"] == pytest.approx(expected)
    for name, function in {"precision": sklearn.precision_score, "recall": sklearn.recall_score}.items():
        assert figures[name] == pytest.approx(function(labels, predictions, average="macro", **keys))
    report = sklearn.classification_report(
        labels, predictions, labels=range(4), target_names=NAMES, output_dict=True, zero_division=0
    )
    for row in scores.table():
        expected = report[row["label"]]
        assert row["support"] == expected["support"]
        assert row["f1"] == pytest.approx(expected["f1-score"])
    confusion = scores.metric.confusion(scores)
    np.testing.assert_array_equal(confusion, sklearn.confusion_matrix(labels, predictions, labels=range(4)))


@given(SWITCHES)
@settings(deadline=None)
def test_labels_equal_scikit_learn(switches: list) -> None:
    predictions, labels = np.split(np.array(switches), 2, axis=1)
    scores = Scores(Labels(NAMES), replicates=0)
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


def test_names_count_like_numbers() -> None:
    by_name, by_number = Scores(Classes(NAMES)), Scores(Classes(NAMES))
    by_name.add(["joy", "fear", "joy"], ["joy", "joy", "calm"])
    by_number.add([1, 2, 1], [1, 1, 3])
    assert by_name.figures() == by_number.figures()
    assert by_name.intervals() == by_number.intervals()


def test_an_absent_class_counts_nothing_and_is_named() -> None:
    scores = Scores(Classes(("yes", "no", "maybe")))
    scores.add([0, 0], [0, 0])
    assert scores.figures()["f1_macro"] == pytest.approx(1 / 3)
    assert scores.figures()["matthews"] == 0
    assert scores.notes() == [
        "No row has the label 'no', 'maybe': F1 there is 0 and lowers the macro averages.",
        "Every prediction is 'yes'.",
    ]


def test_labels_never_predicted_are_named() -> None:
    scores = Scores(Labels(("a", "b", "c")))
    scores.add([[1, 0, 0], [1, 0, 0]], [[1, 1, 0], [0, 1, 0]])
    assert scores.notes() == [
        "No row has the label 'c': F1 there is 0 and lowers the macro averages.",
        "Never predicted: 'b'.",
    ]


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([0, 4], [0, 1], "prediction 1 is class 4; there are 4 classes, from 0"),
        ([0, 1], [0, -100], "label 1 is class -100"),
        (["joy", "feer"], ["joy", "fear"], "prediction 1 is 'feer'; .*Did you mean 'fear'"),
        ([0.5, 1.0], [0, 1], "predictions are float64 of shape .2.; give one class number or name a row"),
        ([0], [0, 1], "There are 1 predictions and 2 labels"),
    ],
)
def test_what_is_no_class_is_refused(predictions: list, labels: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scores(Classes(NAMES)).add(predictions, labels)


def test_probabilities_are_no_switches() -> None:
    with pytest.raises(InputError, match="apply the thresholds first"):
        Scores(Labels(("a", "b"))).add([[0.2, 1]], [[0, 1]])
    with pytest.raises(InputError, match=r"shape \[1, 3\]; give one of 2 switches"):
        Scores(Labels(("a", "b"))).add([[0, 1, 1]], [[0, 1, 1]])


@given(PAIRS)
@settings(deadline=None)
def test_of_two_classes_one_is_positive_as_in_scikit_learn(pairs: list) -> None:
    predictions, labels = np.array(pairs).T % 2
    functions = {"precision": sklearn.precision_score, "recall": sklearn.recall_score, "f1": sklearn.f1_score}
    for metric, positive in ((Classes(("ham", "spam")), 1), (Classes(("yes", "no"), positive="yes"), 0)):
        assert metric.positive_class == metric.labels[positive]
        scores = Scores(metric, replicates=0)
        scores.add(predictions, labels)
        for name, function in functions.items():
            expected = function(labels, predictions, pos_label=positive, zero_division=0, average="binary")
            assert scores.figures()[name] == pytest.approx(expected)
        macro = sklearn.f1_score(labels, predictions, labels=[0, 1], average="macro", zero_division=0)
        assert scores.figures()["f1_macro"] == pytest.approx(macro)


def test_a_positive_class_is_one_of_two() -> None:
    assert Classes(NAMES).positive_class is None
    for labels, positive in ((NAMES, "joy"), (("ham", "spam"), "egg")):
        with pytest.raises(InputError, match=f"positive is '{positive}'; it is one of two classes, here '"):
            Classes(labels, positive=positive)
