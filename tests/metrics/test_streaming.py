"""Chunk sizes do not change the metrics, and the intervals are those of a plain bootstrap over rows."""

import time

import numpy as np
import pytest
from sklearn import metrics as sklearn

from bertie.errors import InputError
from bertie.metrics import ClassificationMetric, Metric, RegressionMetric, Scores
from bertie.metrics.bootstrap import weights
from bertie.metrics.streaming import Additive, interval, paired_difference

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.choice(3, 400, p=(0.6, 0.3, 0.1))
PREDICTIONS = np.where(RANDOM.random(400) < 0.7, LABELS, RANDOM.integers(0, 3, 400))
BETTER = np.where(RANDOM.random(400) < 0.2, LABELS, PREDICTIONS)
NAMES = ("a", "b", "c")


class Means(Additive):
    """The mean of float predictions: a metric with as many distinct rows as rows."""

    main = "mean"

    def rows(self, predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return predictions[:, None]

    def statistics(self, rows: np.ndarray) -> np.ndarray:
        return np.hstack([rows, np.ones_like(rows)])

    def compute(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": sums[..., 0] / np.maximum(sums[..., 1], 1)}


def scored(metric: object, predictions: np.ndarray, labels: np.ndarray, step: int = 10**9, **options: int) -> Scores:
    scores = Scores(metric, **options)
    for first in range(0, len(labels), step):
        scores.add(predictions[first : first + step], labels[first : first + step])
    return scores


@pytest.mark.parametrize(
    "metric", [ClassificationMetric(NAMES), RegressionMetric(), Means()], ids=lambda metric: type(metric).__name__
)
@pytest.mark.parametrize("step", [1, 7, 400])
def test_chunk_sizes_change_nothing(metric: object, step: int) -> None:
    parts, whole = scored(metric, PREDICTIONS, LABELS, step), scored(metric, PREDICTIONS, LABELS)
    assert parts.metrics() == whole.metrics()
    assert parts.intervals() == whole.intervals()
    assert parts.count == 400


def test_the_interval_of_a_mean_is_the_known_one() -> None:
    values = RANDOM.normal(2, 1, 3000)
    found = scored(Means(), values, values, step=50)
    assert found.metrics()["mean"] == pytest.approx(values.mean())
    assert found.intervals()["mean"] == pytest.approx(
        (values.mean() - 1.96 / 3000**0.5, values.mean() + 1.96 / 3000**0.5), abs=0.01
    )


def test_intervals_are_those_of_a_bootstrap_over_rows() -> None:
    random = np.random.default_rng(1)
    metrics = {"accuracy": [], "f1_macro": [], "matthews": []}
    for _ in range(600):
        rows = random.integers(0, 400, 400)
        metrics["accuracy"].append(sklearn.accuracy_score(LABELS[rows], PREDICTIONS[rows]))
        metrics["f1_macro"].append(sklearn.f1_score(LABELS[rows], PREDICTIONS[rows], average="macro"))
        metrics["matthews"].append(sklearn.matthews_corrcoef(LABELS[rows], PREDICTIONS[rows]))
    intervals = scored(ClassificationMetric(NAMES), PREDICTIONS, LABELS, replicates=4000).intervals()
    for name, values in metrics.items():
        assert intervals[name] == pytest.approx(np.quantile(values, (0.025, 0.975)), abs=0.01)


def test_systems_scored_on_different_rows_are_not_compared() -> None:
    all_rows, fewer = (scored(ClassificationMetric(NAMES), PREDICTIONS[:n], LABELS[:n]) for n in (400, 399))
    with pytest.raises(InputError, match=r"scored on 399 rows and the second on 400; compare them on rows"):
        paired_difference(fewer, all_rows)


def test_differences_are_those_of_a_paired_bootstrap() -> None:
    random = np.random.default_rng(1)
    expected = []
    for _ in range(1000):
        rows = random.integers(0, 400, 400)
        gold = LABELS[rows]
        expected.append(np.mean(BETTER[rows] == gold) - np.mean(PREDICTIONS[rows] == gold))
    first, second = (
        scored(ClassificationMetric(NAMES), system, LABELS, step)
        for system, step in ((BETTER, 150), (PREDICTIONS, 400))
    )
    difference, intervals = paired_difference(first, second)
    low, high = intervals["accuracy"] or (0, 0)
    assert (low, high) == pytest.approx(np.quantile(expected, (0.025, 0.975)), abs=0.005)
    assert difference["accuracy"] == np.mean(BETTER == LABELS) - np.mean(PREDICTIONS == LABELS)
    assert low < (difference["accuracy"] or 0) < high
    alone = scored(ClassificationMetric(NAMES), BETTER, LABELS).intervals()["accuracy"]
    assert high - low < alone[1] - alone[0]  # what pairing is for


@pytest.mark.parametrize("metric", [ClassificationMetric(NAMES), RegressionMetric()])
def test_a_system_does_not_differ_from_itself(metric: Metric) -> None:
    replicates = scored(metric, PREDICTIONS, LABELS).resampled()
    again = scored(metric, PREDICTIONS, LABELS).resampled()
    assert {interval(replicates[name] - again[name]) for name in metric.names} == {(0.0, 0.0)}


def test_the_seed_determines_the_intervals() -> None:
    first, again, other = (
        scored(ClassificationMetric(NAMES), PREDICTIONS, LABELS, seed=seed).intervals() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_draws_are_poisson() -> None:
    drawn = weights(np.random.default_rng(0), 200_000, 3)
    np.testing.assert_allclose(drawn.mean(axis=0), 1, rtol=0.01)
    np.testing.assert_allclose(drawn.var(axis=0), 1, rtol=0.02)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.01


@pytest.mark.parametrize("metric", [ClassificationMetric(NAMES), RegressionMetric()])
def test_no_rows_is_a_clear_error(metric: object) -> None:
    scores = Scores(metric)
    scores.add([], [])
    for ask in (scores.metrics, scores.intervals, scores.table, scores.notes):
        with pytest.raises(InputError, match="no rows to score; give at least one prediction with its label"):
            ask()


def test_no_replicates_no_intervals() -> None:
    scores = scored(ClassificationMetric(NAMES), PREDICTIONS, LABELS, replicates=0)
    assert set(scores.intervals().values()) == {None}


def test_a_million_rows_take_seconds() -> None:
    labels = np.random.default_rng(0).integers(0, 28, 1_000_000)
    predictions = np.where(labels % 3 == 0, labels, labels[::-1])
    before = time.process_time()
    scores = scored(ClassificationMetric([str(number) for number in range(28)]), predictions, labels, step=32)
    low, high = scores.intervals()["f1_macro"]
    assert low < scores.metrics()["f1_macro"] < high
    assert high - low < 0.01
    assert time.process_time() - before < 30  # about 2 on an idle core
