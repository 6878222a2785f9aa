"""Calibration finds a known temperature, helps what is overconfident, and survives what has no best temperature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax

from bertie.errors import InputError
from bertie.tasks.calibration import (
    confidences,
    find_temperature,
    probabilities,
    reliability,
)

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 2, (20_000, 4))


def drawn(logits: np.ndarray) -> np.ndarray:
    """Return classes drawn with the probabilities that logits stand for."""
    return (logits + RANDOM.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    classes, switches = drawn(LOGITS), RANDOM.random(LOGITS.shape) < expit(LOGITS)
    for kind, labels in (("softmax", classes), ("sigmoid", switches)):
        assert find_temperature(LOGITS * temperature, labels, kind) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_is_the_likeliest() -> None:
    labels = drawn(LOGITS[:2000])
    scores = LOGITS[:2000] * 3

    def loss(temperature: float) -> float:
        return -log_softmax(scores / temperature, axis=1)[np.arange(2000), labels].mean()

    best = minimize_scalar(loss, bounds=(0.1, 20), method="bounded").x
    assert find_temperature(scores, labels) == pytest.approx(best, rel=0.005)


def test_calibration_makes_confidence_and_accuracy_meet() -> None:
    labels = drawn(LOGITS)
    scores = LOGITS * 4
    temperature = find_temperature(scores, labels)
    before, after = (reliability(*confidences(scores, labels, temperature=value)) for value in (1.0, temperature))
    assert before.error > 0.2
    assert after.error < 0.02
    np.testing.assert_allclose(after.accuracy[5:], after.mean_confidence[5:], atol=0.05)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_few_rows_that_are_all_right_stay_near_one(kind: str) -> None:
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


def test_the_error_by_hand() -> None:
    # two bins of five: (0.2, 0.4] holds one right of two, (0.8, 1.0] three right of four
    confidence = np.array([0.3, 0.4, 0.9, 0.9, 1.0, 1.0])
    bins = reliability(confidence, np.array([True, False, True, True, True, False]), bins=5)
    np.testing.assert_array_equal(bins.count, [0, 2, 0, 0, 4])
    np.testing.assert_allclose(bins.accuracy, [0, 0.5, 0, 0, 0.75])
    assert bins.error == pytest.approx((2 * 0.15 + 4 * 0.2) / 6)
    parts = reliability(confidence[:4], np.array([1, 0, 1, 1]), 5) + reliability(confidence[4:], np.array([1, 0]), 5)
    assert parts.error == pytest.approx(bins.error)


def test_single_decisions_of_several_labels() -> None:
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
def test_what_cannot_be_calibrated_is_refused(logits: list, labels: list, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_temperature(logits, labels, kind)
