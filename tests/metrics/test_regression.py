"""Correlations equal SciPy's, are undefined where they must be, and have the intervals of a bootstrap over rows."""

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
SAID = GOLD + RANDOM.normal(0, 1, 300)


def scored(predictions: object, labels: object, **options: int) -> Scores:
    scores = Scores(RegressionMetric(), **options)
    scores.add(predictions, labels)
    return scores


# few values, so that there are ties
@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0.0, 1.5, 2.25, -7.0, 1e6])), min_size=1, max_size=30))
@settings(deadline=None)
def test_correlations_equal_scipy(pairs: list) -> None:
    predictions, labels = np.array(pairs, dtype=np.float64).T
    figures = scored(predictions, labels).figures()
    assert figures["mse"] == pytest.approx(np.mean((predictions - labels) ** 2))
    assert figures["mae"] == pytest.approx(np.mean(abs(predictions - labels)))
    if len(set(predictions)) == 1 or len(set(labels)) == 1:
        assert figures["pearson"] is figures["spearman"] is None
        return
    assert figures["pearson"] == pytest.approx(scipy.stats.pearsonr(predictions, labels).statistic, abs=1e-9)
    assert figures["spearman"] == pytest.approx(scipy.stats.spearmanr(predictions, labels).statistic, abs=1e-9)


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=30), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_any_scale_is_a_correlation(values: list, scale: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = scored(np.array(values) * scale, values).figures()
    if len(set(values)) > 1 and len(set(np.array(values) * scale)) > 1:
        assert figures["pearson"] == pytest.approx(1)
        assert -1 <= figures["spearman"] <= 1


def test_constant_predictions_have_no_correlation_and_say_so() -> None:
    scores = scored([0.1] * 5, [1, 2, 3, 4, 5])
    assert scores.figures()["pearson"] is None
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
        said, gold = SAID[rows], GOLD[rows]
        expected["pearson"].append(scipy.stats.pearsonr(said, gold).statistic)
        expected["spearman"].append(scipy.stats.spearmanr(said, gold).statistic)
        expected["mse"].append(np.mean((said - gold) ** 2))
        expected["mae"].append(np.mean(abs(said - gold)))
    intervals = scored(SAID + shift, GOLD + shift, replicates=4000).intervals()
    for name, values in expected.items():
        assert intervals[name] == pytest.approx(np.quantile(values, (0.025, 0.975)), abs=0.03)


def test_differences_of_correlations_are_paired() -> None:
    other = GOLD + RANDOM.normal(0, 1.5, 300)
    random = np.random.default_rng(1)
    expected = []
    for _ in range(1000):
        rows = random.integers(0, 300, 300)
        pair = [scipy.stats.spearmanr(said[rows], GOLD[rows]).statistic for said in (SAID, other)]
        expected.append(pair[0] - pair[1])
    first, second = scored(SAID, GOLD), scored(other, GOLD)
    low, high = interval(first.resampled()["spearman"] - second.resampled()["spearman"])
    assert (low, high) == pytest.approx(np.quantile(expected, (0.025, 0.975)), abs=0.02)
    assert low < first.figures()["spearman"] - second.figures()["spearman"] < high


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="prediction 1 is nan; a score needs finite numbers"):
        scored([1.0, float("nan")], [1, 2])
    with pytest.raises(InputError, match="labels are <U1 of shape .2."):
        scored([1.0, 2.0], ["a", "b"])
