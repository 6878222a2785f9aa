"""Calibration finds a known temperature, corrects overconfidence, and copes with data that have no best temperature.

Thresholds are optimal on the data they were found on, and shrunk if those are few.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax
from sklearn.metrics import f1_score

from bertie.errors import InputError
from bertie.tasks.calibration import (
    check_temperature,
    confidences,
    f1_curves,
    find_no_answer_threshold,
    find_temperature,
    find_thresholds,
    probabilities,
    reliability,
)

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 2, (20_000, 4))
PROBABILITIES = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.9, 1.0])
ROWS = st.lists(st.tuples(PROBABILITIES, PROBABILITIES, st.booleans(), st.booleans()), min_size=1, max_size=25)


def drawn(logits: np.ndarray) -> np.ndarray:
    """Return classes sampled with the probabilities of logits."""
    return (logits + RANDOM.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    classes, switches = drawn(LOGITS), RANDOM.random(LOGITS.shape) < expit(LOGITS)
    for kind, labels in (("softmax", classes), ("sigmoid", switches)):
        assert find_temperature(LOGITS * temperature, labels, kind) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_maximizes_the_likelihood() -> None:
    labels = drawn(LOGITS[:2000])
    scores = LOGITS[:2000] * 3

    def loss(temperature: float) -> float:
        return -log_softmax(scores / temperature, axis=1)[np.arange(2000), labels].mean()

    best = minimize_scalar(loss, bounds=(0.1, 20), method="bounded").x
    assert find_temperature(scores, labels) == pytest.approx(best, rel=0.005)


def test_calibration_aligns_confidence_with_accuracy() -> None:
    labels = drawn(LOGITS)
    scores = LOGITS * 4
    temperature = find_temperature(scores, labels)
    before, after = (reliability(*confidences(scores, labels, temperature=value)) for value in (1.0, temperature))
    assert before.error > 0.2
    assert after.error < 0.02
    np.testing.assert_allclose(after.accuracy[5:], after.mean_confidence[5:], atol=0.05)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_few_rows_that_are_all_right_keep_a_temperature_near_one(kind: str) -> None:
    logits = np.array([[4.0, -4.0], [-4.0, 4.0]])
    labels = np.array([0, 1]) if kind == "softmax" else logits > 0
    assert 0.8 < find_temperature(logits, labels, kind) <= 1
    wrong = 1 - labels if kind == "softmax" else ~labels
    assert 1 < find_temperature(logits, wrong, kind) < 1000


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(0, 1)), min_size=1, max_size=20))
@settings(deadline=None)
def test_any_logits_have_a_temperature(rows: list) -> None:
    logits, labels = np.array([row[:2] for row in rows]), np.array([row[2] for row in rows])
    found = find_temperature(logits, labels)
    assert 1e-3 <= found <= 1e3
    assert np.isfinite(probabilities(logits, temperature=found)).all()
    assert np.isfinite(probabilities(logits, "sigmoid")).all()


def test_the_calibration_error_by_hand() -> None:
    # two bins of five: (0.2, 0.4] has one right of two, (0.8, 1.0] three right of four
    confidence = np.array([0.3, 0.4, 0.9, 0.9, 1.0, 1.0])
    bins = reliability(confidence, np.array([True, False, True, True, True, False]), bins=5)
    np.testing.assert_array_equal(bins.count, [0, 2, 0, 0, 4])
    np.testing.assert_allclose(bins.accuracy, [0, 0.5, 0, 0, 0.75])
    assert bins.error == pytest.approx((2 * 0.15 + 4 * 0.2) / 6)
    parts = reliability(confidence[:4], np.array([1, 0, 1, 1]), 5) + reliability(confidence[4:], np.array([1, 0]), 5)
    assert parts.error == pytest.approx(bins.error)


def test_multi_label_decisions_are_calibrated_one_by_one() -> None:
    confidence, correct = confidences([[2.0, -2.0]], [[True, True]], "sigmoid")
    np.testing.assert_allclose(confidence, expit([2.0, 2.0]))
    np.testing.assert_array_equal(correct, [True, False])


@pytest.mark.parametrize(
    ("logits", "labels", "kind", "message"),
    [
        ([[1, 2]], [0], "none", "kind is 'none'; allowed are 'softmax', 'sigmoid'"),
        (np.zeros((0, 2)), [], "softmax", "logits have shape .0, 2."),
        ([[1, 2]], [0, 1], "softmax", "labels .2.; give .* labels .n."),
        ([[1, 2]], [0], "sigmoid", "labels .1.; give .* labels .n, C."),
        ([[1, 2], [np.nan, 0]], [0, 1], "softmax", "logits of row 1 are not finite"),
        ([[1, 2]], [2], "softmax", "values outside 0 to 1"),
    ],
)
def test_bad_calibration_inputs_are_refused(logits: list, labels: list, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_temperature(logits, labels, kind)


def test_a_temperature_is_above_0() -> None:
    check_temperature(0.5)
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match=f"^temperature is {temperature}; it must be above 0"):
            check_temperature(temperature)


@given(ROWS)
@settings(deadline=None)
def test_no_other_threshold_is_better(rows: list) -> None:
    probs, labels = np.array([row[:2] for row in rows]), np.array([row[2:] for row in rows])
    thresholds = find_thresholds(probs, labels, prior_rows=0)
    # thresholds between any two probs that can occur
    places = [0.05, 0.2, 0.3, 0.45, 0.55, 0.75, 0.95, 1.05]
    curves = f1_curves(probs, labels, places)
    for label in range(2):
        gold = labels[:, label]
        found = f1_score(gold, probs[:, label] >= thresholds[label], zero_division=0)
        others = [f1_score(gold, probs[:, label] >= place, zero_division=0) for place in places]
        np.testing.assert_allclose(curves[label], others)
        if gold.any():
            assert found >= max(others) - 1e-12


def test_a_threshold_lies_half_way_between_two_probabilities() -> None:
    probs = np.array([[0.9], [0.3], [0.1], [0.0]])
    assert find_thresholds(probs, [[1], [1], [0], [0]], prior_rows=0) == pytest.approx([0.2])


def test_of_equally_good_thresholds_the_nearest_to_one_half_wins() -> None:
    # one right of one assigned, or two of four: 2 · 1 / (1 + 2) = 2 · 2 / (4 + 2)
    probs = np.array([[0.8], [0.5], [0.45], [0.4], [0.1]])
    assert find_thresholds(probs, [[1], [0], [0], [1], [0]], prior_rows=0) == pytest.approx([0.65])


def test_a_label_with_few_rows_is_shrunk_to_the_pooled_threshold() -> None:
    random = np.random.default_rng(0)
    truth = random.random((400, 2)) < (0.4, 0.01)
    probs = np.where(truth, (0.3, 0.9), 0.1) + random.random((400, 2)) * 0.05
    own = find_thresholds(probs, truth, prior_rows=0)
    common, rare = find_thresholds(probs, truth)
    assert truth[:, 1].sum() < 10
    assert common == pytest.approx(own[0], abs=0.02)
    assert own[0] < rare < own[1]


def test_without_any_positive_label_the_threshold_is_one_half() -> None:
    assert find_thresholds(np.full((20, 2), 0.1), np.zeros((20, 2))).tolist() == [0.5, 0.5]


def test_constant_probabilities_keep_the_default_threshold_or_assign_all() -> None:
    assert find_thresholds(np.zeros((20, 1)), np.ones((20, 1))).tolist() == [0.5]
    assert find_thresholds(np.full((20, 1), 0.2), np.ones((20, 1)), prior_rows=0) == pytest.approx([0.1])


def squad_search(differences: list, f1: list, answerable: list) -> float:
    """Return the best F1, searched as by SQuAD's v2.0 script: answering one more question at a time."""
    best = current = answerable.count(False)
    for _, earned, there in sorted(zip(differences, f1, answerable, strict=True)):
        current += earned if there else -1
        best = max(best, current)
    return best / len(f1)


@given(
    st.lists(
        st.tuples(st.floats(-10, 10), st.sampled_from([0.0, 0.5, 1.0]), st.booleans()),
        min_size=1,
        max_size=20,
        unique_by=lambda row: row[0],
    )
)
@settings(deadline=None)
def test_the_no_answer_threshold_is_as_good_as_squads(rows: list) -> None:
    differences, f1, answerable = (list(column) for column in zip(*rows, strict=True))
    earned = np.array(f1) * answerable
    threshold, best = find_no_answer_threshold(differences, earned, answerable)
    assert best == pytest.approx(squad_search(differences, f1, answerable))
    left = np.array(differences) > threshold
    reached = np.where(left, ~np.array(answerable), earned).mean()
    assert reached == pytest.approx(best, abs=1e-6) or np.ptp(differences) < 1e-9


def test_equal_differences_are_answered_together_or_not_at_all() -> None:
    threshold, best = find_no_answer_threshold([1.0, 1.0, 3.0], [1.0, 0.0, 0.0], [True, False, False])
    assert best == pytest.approx(2 / 3)
    assert threshold in (0.0, 2.0)


def test_bad_probabilities_are_refused() -> None:
    with pytest.raises(InputError, match="outside 0 to 1; give probabilities, not logits"):
        find_thresholds([[2.0]], [[1]])
    with pytest.raises(InputError, match=r"shape \[0, 2\] and labels \[0, 2\]"):
        find_thresholds(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(InputError, match="at least one question"):
        find_no_answer_threshold([], [], [])
