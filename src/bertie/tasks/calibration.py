"""Calibration on held-out data: the temperature of scores, calibration error, and the thresholds from which a label is
assigned or a question answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.engine.activations import sigmoid
from bertie.errors import InputError
from bertie.metrics.counts import ratio
from bertie.tasks.arrays import log_softmax, softmax

KINDS = ("softmax", "sigmoid")
BINS = 15
# 1 / temperature is searched in this range, by bisection on a logarithmic scale until it is narrower than rounding.
_RANGE = (1e-3, 1e3)
_BISECTIONS = 50
DEFAULT_THRESHOLD = 0.5
# The number of rows at which a label's own threshold and the common one have equal weight. For 28 emotions (logistic
# regression, scored on other rows than those tuned on) 300, 1,000 and 5,000 rows gave macro F1 0.340, 0.370, 0.387 with
# 0; 0.360, 0.373, 0.390 with 3; 0.360, 0.367, 0.384 with 10.
PRIOR_ROWS = 3


@dataclass(frozen=True)
class Reliability:
    """How often predictions of each confidence are right, in bins of equal width: what a reliability diagram shows.

    Per bin: the number of predictions, the sum of their confidences, and how many are right.
    """

    count: NDArray
    confidence: NDArray
    correct: NDArray

    def __add__(self, other: "Reliability") -> "Reliability":
        """Return the merged bins, so that an evaluation can add up chunks."""
        return Reliability(self.count + other.count, self.confidence + other.confidence, self.correct + other.correct)

    @property
    def mean_confidence(self) -> NDArray:
        """The mean confidence in each bin, 0 if it is empty."""
        return ratio(self.confidence, self.count)

    @property
    def accuracy(self) -> NDArray:
        """The share of right predictions in each bin, 0 if it is empty."""
        return ratio(self.correct, self.count)

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap between confidence and accuracy, weighted by bin size."""
        return float(ratio(np.abs(self.confidence - self.correct).sum(), self.count.sum()))


def check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}; it must be above 0.")


def find_temperature(logits: Any, labels: Any, kind: str = "softmax") -> float:
    """Return the temperature that maximizes the likelihood of the labels (Guo et al. 2017).

    The log-likelihood is concave in 1 / temperature, so bisection finds its only maximum. A prior worth one row favours
    temperature 1: it is negligible with many rows, and with a few that are all right it keeps the confidence from
    growing without bound.

    ``labels`` are class numbers ``[n]`` for the kind "softmax"; bool (or 0 and 1) ``[n, C]`` for "sigmoid".
    """
    scores, truth = _checked(logits, labels, kind)
    low, high = np.log(_RANGE)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        inverse = float(np.exp(middle))
        slope = _excess(scores * inverse, scores, truth, kind) + 1 - 1 / inverse
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def confidences(logits: Any, labels: Any, kind: str = "softmax", temperature: float = 1.0) -> tuple[NDArray, NDArray]:
    """Return the confidence of each prediction, float64, and whether it is right, bool.

    Softmax: one per row, of the likeliest class ``[n]``. Sigmoid: one per label of a row, decided at 0.5 ``[n · C]``.
    """
    scores, truth = _checked(logits, labels, kind)
    scores = scores / temperature
    if kind == "softmax":
        best = scores.argmax(axis=1)
        return np.exp(log_softmax(scores).max(axis=1)), best == truth
    return probabilities(np.abs(scores), "sigmoid").ravel(), ((scores >= 0) == truth.astype(np.bool_)).ravel()


def reliability(confidence: NDArray, correct: NDArray, bins: int = BINS) -> Reliability:
    """Return the bins of predictions with these confidences (0 to 1) ``[n]``, right or not ``[n]``."""
    # a bin includes its upper end, as in Guo et al.
    places = np.clip(np.ceil(np.asarray(confidence, np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(places, minlength=bins)
    sums = np.bincount(places, weights=confidence, minlength=bins)
    return Reliability(count, sums, np.bincount(places[np.asarray(correct, np.bool_)], minlength=bins))


def probabilities(logits: NDArray, kind: str = "softmax", temperature: float = 1.0) -> NDArray:
    """Return the probabilities float64 ``[n, C]`` of logits ``[n, C]`` at a temperature, without overflow."""
    scores = np.asarray(logits, np.float64) / temperature
    return softmax(scores) if kind == "softmax" else sigmoid(scores)


def find_thresholds(probabilities: Any, labels: Any, prior_rows: float = PRIOR_ROWS) -> NDArray:
    """Return a threshold per label, float64 ``[C]``: the one that maximizes F1, shrunk if it rests on few rows.

    A label is assigned at ``p >= threshold``. Its own best threshold lies half-way between two neighbouring
    probabilities; of equally good ones the nearest to 0.5 is taken. It is then averaged, in log-odds, with the best
    threshold of all labels pooled: weighted by the number of the label's rows, against ``prior_rows``. The pooled
    threshold is shrunk towards 0.5 in the same way.
    """
    probs, truth = _checked_probabilities(probabilities, labels)
    pooled = _shrink(_best_f1(probs.ravel(), truth.ravel()), DEFAULT_THRESHOLD, truth.sum(), prior_rows)
    columns = zip(probs.T, truth.T, strict=True)
    return np.array([_shrink(_best_f1(column, gold), pooled, gold.sum(), prior_rows) for column, gold in columns])


def f1_curves(probabilities: Any, labels: Any, thresholds: Sequence[float] | NDArray) -> NDArray:
    """Return each label's F1 at each threshold, float64 ``[C, len(thresholds)]``, for plots."""
    probs, truth = _checked_probabilities(probabilities, labels)
    curves = []
    for label in range(probs.shape[1]):
        predicted = _count_at_least(np.sort(probs[:, label]), thresholds)
        right = _count_at_least(np.sort(probs[truth[:, label], label]), thresholds)
        curves.append(ratio(2 * right, predicted + truth[:, label].sum()))
    return np.stack(curves)


def find_no_answer_threshold(differences: Any, f1: Any, answerable: Any) -> tuple[float, float]:
    """Return the threshold with the highest mean F1, and that F1, searched as by SQuAD's script.

    A question is left unanswered if its difference, the score of "no answer" minus that of the best span ``[n]``,
    exceeds the threshold. ``f1 [n]`` is the F1 of the best span: 0 on an unanswerable question.
    """
    scores, f1, answerable = (np.asarray(values, np.float64) for values in (differences, f1, answerable))
    if not len(scores) or scores.shape != f1.shape or scores.shape != answerable.shape or scores.ndim != 1:
        raise InputError(
            f"differences, f1 and answerable have the shapes {list(scores.shape)}, {list(f1.shape)} and "
            f"{list(answerable.shape)}; give one of each for at least one question."
        )
    order = np.argsort(scores, kind="stable")
    scores = scores[order]
    # total F1 if the first k questions are answered and the others are not: k = 0 … n
    totals = np.concatenate([[0], np.cumsum(f1[order] - (1 - answerable[order]))]) + (1 - answerable).sum()
    edges = np.concatenate([[scores[0] - 1], (scores[1:] + scores[:-1]) / 2, [scores[-1] + 1]])
    separable = np.concatenate([[True], scores[1:] > scores[:-1], [True]])
    best = np.flatnonzero(separable & np.isclose(totals, totals[separable].max(), rtol=0, atol=1e-9))
    chosen = best[np.abs(edges[best]).argmin()]
    return float(edges[chosen]), float(totals[chosen] / len(scores))


def _excess(scaled: NDArray, scores: NDArray, truth: NDArray, kind: str) -> float:
    """Return by how much the expected logits exceed those of the labels: the loss's slope in 1 / temperature."""
    probs = probabilities(scaled, kind)
    if kind == "sigmoid":
        return float(((probs - truth) * scores).sum())
    return float((probs * scores).sum() - scores[np.arange(len(scores)), truth].sum())


def _checked(logits: Any, labels: Any, kind: str) -> tuple[NDArray, NDArray]:
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}; allowed are {', '.join(map(repr, KINDS))}.")
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels)
    expected = scores.shape if kind == "sigmoid" else scores.shape[:1]
    if scores.ndim != 2 or not scores.size or truth.shape != expected:
        raise InputError(
            f"logits have shape {list(scores.shape)} and labels {list(truth.shape)}; give logits [n, C] with at least "
            f"one row, and labels {'[n, C]' if kind == 'sigmoid' else '[n]'}."
        )
    wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(wrong):
        raise InputError(f"The logits of row {wrong[0]} are not finite; a temperature needs finite ones.")
    highest = 1 if kind == "sigmoid" else scores.shape[1] - 1
    if not ((truth >= 0) & (truth <= highest)).all():
        raise InputError(
            f"labels hold values outside 0 to {highest}; give {'0 and 1' if highest == 1 else 'class numbers'}."
        )
    return scores, truth.astype(np.int64)


def _best_f1(probs: NDArray, truth: NDArray) -> float:
    """Return the threshold with the highest F1 of one label's probabilities ``[n]``."""
    order = np.argsort(-probs, kind="stable")
    descending = probs[order]
    # the first k rows get the label: k = 1 … n
    predicted = np.arange(1, len(descending) + 1)
    f1 = 2 * np.cumsum(truth[order]) / (predicted + truth.sum())
    below = np.append(descending[1:], 0.0)
    separable = descending > below
    if not separable.any():
        return DEFAULT_THRESHOLD
    best = np.flatnonzero(separable & (f1 >= f1[separable].max() - 1e-12))
    thresholds = (descending[best] + below[best]) / 2
    return float(thresholds[np.abs(thresholds - DEFAULT_THRESHOLD).argmin()])


def _shrink(own: float, prior: float, rows: int, prior_rows: float) -> float:
    """Return a threshold found on ``rows`` averaged with a prior one in log-odds, weighted by the rows of each."""
    weight = rows / (rows + prior_rows) if rows else 0.0
    if weight == 1:
        return own
    own_odds, prior_odds = (np.log(value / (1 - value)) for value in np.clip((own, prior), 1e-9, 1 - 1e-9))
    return float(1 / (1 + np.exp(-weight * own_odds - (1 - weight) * prior_odds)))


def _count_at_least(ascending: NDArray, thresholds: Sequence[float] | NDArray) -> NDArray:
    """Return how many of the sorted numbers are at least each threshold."""
    return len(ascending) - np.searchsorted(ascending, thresholds, side="left")


def _checked_probabilities(probabilities: Any, labels: Any) -> tuple[NDArray, NDArray]:
    probs, truth = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probs.ndim != 2 or not probs.size or truth.shape != probs.shape:
        raise InputError(
            f"probabilities have shape {list(probs.shape)} and labels {list(truth.shape)}; give [n, C] for both, "
            "with at least one row."
        )
    if not ((probs >= 0) & (probs <= 1)).all():
        raise InputError("probabilities hold values outside 0 to 1; give probabilities, not logits.")
    return probs, truth.astype(np.bool_)
