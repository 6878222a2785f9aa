"""Correlations equal SciPy's, are undefined for constants, and have the intervals of a plain bootstrap over rows."""

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import InputError
from bertie.metrics import RegressionMetric, Scores
from bertie.metrics.streaming import interval

RANDOM = np.random.default_rng(0)
GOLD = RANDOM.normal(3, 1, 300)
PREDICTED = GOLD + RANDOM.normal(0, 1, 300)


def scored(predictions: object, labels: object, **options: int) -> Scores:
    scores = Scores(RegressionMetric(), **options)
    scores.add(predictions, labels)
    return scores


# few values, so that there are ties
@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0.0, 1.5, 2.25, -7.0, 1e6])), min_size=1, max_size=30))
@settings(deadline=None)
def test_correlations_equal_scipy(pairs: list) -> None:
    predictions, labels = np.array(pairs, dtype=np.float64).T
    metrics = scored(predictions, labels).metrics()
    assert metrics["mse"] == pytest.approx(np.mean((predictions - labels) ** 2))
    assert metrics["mae"] == pytest.approx(np.mean(abs(predictions - labels)))
    if len(set(predictions)) == 1 or len(set(labels)) == 1:
        assert metrics["pearson"] is metrics["spearman"] is None
        return
    assert metrics["pearson"] == pytest.approx(scipy.stats.pearsonr(predictions, labels).statistic, abs=1e-9)
    assert metrics["spearman"] == pytest.approx(scipy.stats.spearmanr(predictions, labels).statistic, abs=1e-9)


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=30), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_correlations_hold_at_any_scale(values: list, scale: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = scored(np.array(values) * scale, values).metrics()
    if len(set(values)) > 1 and len(set(np.array(values) * scale)) > 1:
        assert metrics["pearson"] == pytest.approx(1)
        assert -1 <= metrics["spearman"] <= 1


def test_constant_predictions_have_no_correlation_and_say_so() -> None:
    scores = scored([0.1] * 5, [1, 2, 3, 4, 5])
    assert scores.metrics()["pearson"] is None
    assert scores.intervals()["spearman"] is None
    assert scores.intervals()["mse"] is not None
    assert scores.notes() == ["The predictions are all 0.1: there is no correlation with them."]
    assert scored([1], [2]).notes() == ["A single row has no correlation."]


@pytest.mark.parametrize("shift", [0, 1e9])
def test_intervals_are_those_of_a_bootstrap_over_rows(shift: float) -> None:
    random = np.random.default_rng(1)
    expected = {"pearson": [], "spearman": [], "mse": [], "mae": []}
    for _ in range(1000):
        rows = random.integers(0, 300, 300)
        predicted, gold = PREDICTED[rows], GOLD[rows]
        expected["pearson"].append(scipy.stats.pearsonr(predicted, gold).statistic)
        expected["spearman"].append(scipy.stats.spearmanr(predicted, gold).statistic)
        expected["mse"].append(np.mean((predicted - gold) ** 2))
        expected["mae"].append(np.mean(abs(predicted - gold)))
    intervals = scored(PREDICTED + shift, GOLD + shift, replicates=4000).intervals()
    for name, values in expected.items():
        assert intervals[name] == pytest.approx(np.quantile(values, (0.025, 0.975)), abs=0.03)


def test_differences_of_correlations_are_paired() -> None:
    other = GOLD + RANDOM.normal(0, 1.5, 300)
    random = np.random.default_rng(1)
    expected = []
    for _ in range(1000):
        rows = random.integers(0, 300, 300)
        pair = [scipy.stats.spearmanr(predicted[rows], GOLD[rows]).statistic for predicted in (PREDICTED, other)]
        expected.append(pair[0] - pair[1])
    first, second = scored(PREDICTED, GOLD), scored(other, GOLD)
    low, high = interval(first.resampled()["spearman"] - second.resampled()["spearman"])
    assert (low, high) == pytest.approx(np.quantile(expected, (0.025, 0.975)), abs=0.02)
    assert low < first.metrics()["spearman"] - second.metrics()["spearman"] < high


def test_only_finite_numbers_are_taken() -> None:
    with pytest.raises(InputError, match="prediction 1 is nan; it must be finite"):
        scored([1.0, float("nan")], [1, 2])
    with pytest.raises(InputError, match="labels are <U1 of shape .2."):
        scored([1.0, 2.0], ["a", "b"])
