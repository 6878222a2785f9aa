"""Classification metrics equal scikit-learn's on random inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from bertie.errors import InputError
from bertie.metrics import ClassificationMetric, Scores

NAMES = ("anger", "joy", "fear", "calm")
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(PAIRS)
@settings(deadline=None)
def test_classes_equal_scikit_learn(pairs: list) -> None:
    predictions, labels = np.array(pairs).T
    scores = Scores(ClassificationMetric(NAMES), replicates=0)
    scores.add(predictions, labels)
    metrics = scores.metrics()
    keys = {"labels": range(4), "zero_division": 0}
    assert metrics["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, predictions))
    assert metrics["matthews"] == pytest.approx(sklearn.matthews_corrcoef(labels, predictions), abs=1e-9)
    for average in ("macro", "micro", "weighted"):
        expected = sklearn.f1_score(labels, predictions, average=average, **keys)
        assert metrics[f"f1_{average}"] == pytest.approx(expected)
    for name, function in {"precision": sklearn.precision_score, "recall": sklearn.recall_score}.items():
        assert metrics[name] == pytest.approx(function(labels, predictions, average="macro", **keys))
    report = sklearn.classification_report(
        labels, predictions, labels=range(4), target_names=NAMES, output_dict=True, zero_division=0
    )
    for row in scores.table():
        expected = report[row["label"]]
        assert row["support"] == expected["support"]
        assert row["f1"] == pytest.approx(expected["f1-score"])
    confusion = scores.metric.confusion(scores)
    np.testing.assert_array_equal(confusion, sklearn.confusion_matrix(labels, predictions, labels=range(4)))


def test_names_count_like_numbers() -> None:
    by_name, by_number = Scores(ClassificationMetric(NAMES)), Scores(ClassificationMetric(NAMES))
    by_name.add(["joy", "fear", "joy"], ["joy", "joy", "calm"])
    by_number.add([1, 2, 1], [1, 1, 3])
    assert by_name.metrics() == by_number.metrics()
    assert by_name.intervals() == by_number.intervals()


def test_an_absent_class_counts_zero_and_is_named() -> None:
    scores = Scores(ClassificationMetric(("yes", "no", "maybe")))
    scores.add([0, 0], [0, 0])
    assert scores.metrics()["f1_macro"] == pytest.approx(1 / 3)
    assert scores.metrics()["matthews"] == 0
    assert scores.notes() == [
        "No row has the label 'no', 'maybe': F1 there is 0 and lowers the macro averages.",
        "Every prediction is 'yes'.",
    ]


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([0, 4], [0, 1], "prediction 1 is class 4; classes are numbered 0 to 3"),
        ([0, 1], [0, -100], "label 1 is class -100"),
        (["joy", "feer"], ["joy", "fear"], "prediction 1 is 'feer'; .*Did you mean 'fear'"),
        ([0.5, 1.0], [0, 1], "predictions are float64 of shape .2.; give one class number or name per row"),
        ([0], [0, 1], "There are 1 predictions and 2 labels"),
    ],
)
def test_invalid_classes_are_refused(predictions: list, labels: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scores(ClassificationMetric(NAMES)).add(predictions, labels)


@given(PAIRS)
@settings(deadline=None)
def test_two_classes_equal_scikit_learn_for_either_positive_class(pairs: list) -> None:
    predictions, labels = np.array(pairs).T % 2
    functions = {"precision": sklearn.precision_score, "recall": sklearn.recall_score, "f1": sklearn.f1_score}
    for metric, positive in (
        (ClassificationMetric(("ham", "spam")), 1),
        (ClassificationMetric(("yes", "no"), positive="yes"), 0),
    ):
        assert metric.positive_class == metric.labels[positive]
        scores = Scores(metric, replicates=0)
        scores.add(predictions, labels)
        for name, function in functions.items():
            expected = function(labels, predictions, pos_label=positive, zero_division=0, average="binary")
            assert scores.metrics()[name] == pytest.approx(expected)
        macro = sklearn.f1_score(labels, predictions, labels=[0, 1], average="macro", zero_division=0)
        assert scores.metrics()["f1_macro"] == pytest.approx(macro)


def test_the_positive_class_must_be_one_of_two() -> None:
    assert ClassificationMetric(NAMES).positive_class is None
    for labels, positive in ((NAMES, "joy"), (("ham", "spam"), "egg")):
        with pytest.raises(InputError, match=f"positive is '{positive}'; it must be one of two classes, here '"):
            ClassificationMetric(labels, positive=positive)
