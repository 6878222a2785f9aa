"""Thresholds are the best there are on the data they were found on, and modest where that says little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from bertie.errors import InputError
from bertie.tasks.thresholds import f1_curves, find_no_answer_threshold, find_thresholds

CHANCES = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.9, 1.0])
ROWS = st.lists(st.tuples(CHANCES, CHANCES, st.booleans(), st.booleans()), min_size=1, max_size=25)


@given(ROWS)
@settings(deadline=None)
def test_no_other_threshold_is_better(rows: list) -> None:
    chances, labels = np.array([row[:2] for row in rows]), np.array([row[2:] for row in rows])
    thresholds = find_thresholds(chances, labels, caution=0)
    # thresholds between any two chances that could occur
    places = [0.05, 0.2, 0.3, 0.45, 0.55, 0.75, 0.95, 1.05]
    curves = f1_curves(chances, labels, places)
    for label in range(2):
        gold = labels[:, label]
        found = f1_score(gold, chances[:, label] >= thresholds[label], zero_division=0)
        others = [f1_score(gold, chances[:, label] >= place, zero_division=0) for place in places]
        np.testing.assert_allclose(curves[label], others)
        if gold.any():
            assert found >= max(others) - 1e-12


def test_a_threshold_lies_between_two_chances() -> None:
    chances = np.array([[0.9], [0.3], [0.1], [0.0]])
    assert find_thresholds(chances, [[1], [1], [0], [0]], caution=0) == pytest.approx([0.2])


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_taken() -> None:
    # one right of one given, or two of three: 2 · 1 / (1 + 2) = 2 · 2 / (4 + 2)
    chances = np.array([[0.8], [0.5], [0.45], [0.4], [0.1]])
    assert find_thresholds(chances, [[1], [0], [0], [1], [0]], caution=0) == pytest.approx([0.65])


def test_a_label_with_few_rows_is_drawn_to_the_common_threshold() -> None:
    random = np.random.default_rng(0)
    truth = random.random((400, 2)) < (0.4, 0.01)
    chances = np.where(truth, (0.3, 0.9), 0.1) + random.random((400, 2)) * 0.05
    own = find_thresholds(chances, truth, caution=0)
    common, rare = find_thresholds(chances, truth)
    assert truth[:, 1].sum() < 10
    assert common == pytest.approx(own[0], abs=0.02)
    assert own[0] < rare < own[1]


def test_without_any_label_the_threshold_is_a_half() -> None:
    assert find_thresholds(np.full((20, 2), 0.1), np.zeros((20, 2))).tolist() == [0.5, 0.5]


def test_constant_chances_leave_the_usual_threshold_or_give_all() -> None:
    assert find_thresholds(np.zeros((20, 1)), np.ones((20, 1))).tolist() == [0.5]
    assert find_thresholds(np.full((20, 1), 0.2), np.ones((20, 1)), caution=0) == pytest.approx([0.1])


def squad_search(differences: list, f1: list, answerable: list) -> float:
    """Return the best F1 as SQuAD's script for v2.0 searches it: questions answered one more at a time."""
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
def test_the_no_answer_threshold_is_as_good_as_in_squad(rows: list) -> None:
    differences, f1, answerable = (list(column) for column in zip(*rows, strict=True))
    earned = np.array(f1) * answerable
    threshold, best = find_no_answer_threshold(differences, earned, answerable)
    assert best == pytest.approx(squad_search(differences, f1, answerable))
    left = np.array(differences) > threshold
    reached = np.where(left, ~np.array(answerable), earned).mean()
    assert reached == pytest.approx(best, abs=1e-6) or np.ptp(differences) < 1e-9


def test_equal_differences_are_answered_or_left_together() -> None:
    threshold, best = find_no_answer_threshold([1.0, 1.0, 3.0], [1.0, 0.0, 0.0], [True, False, False])
    assert best == pytest.approx(2 / 3)
    assert threshold in (0.0, 2.0)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(InputError, match="outside 0 to 1; give probabilities, not logits"):
        find_thresholds([[2.0]], [[1]])
    with pytest.raises(InputError, match=r"shape \[0, 2\] and labels \[0, 2\]"):
        find_thresholds(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(InputError, match="at least one question"):
        find_no_answer_threshold([], [], [])
