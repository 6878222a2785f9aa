"""Found on data kept for it: the temperature of scores, how far confidence is from accuracy, and from which
probability on a label is given and a question answered.
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
# The search halves this range (on a logarithmic scale) until it is narrower than rounding.
_RANGE = (1e-3, 1e3)
_HALVINGS = 50
USUAL = 0.5
# At so many rows a label's own threshold and the common one count alike. For 28 emotions (logistic regression, other
# rows than those tuned on) 300, 1,000 and 5,000 rows gave macro F1 0.340, 0.370, 0.387 with 0; 0.360, 0.373, 0.390 with
# 3; 0.360, 0.367, 0.384 with 10.
CAUTION = 3


@dataclass(frozen=True)
class Reliability:
    """How often predictions of each confidence are right, in bins of equal width: what a reliability plot shows.

    Of each bin: how many predictions it holds, the sum of their confidences, and how many are right.
    """

    count: NDArray
    confidence: NDArray
    correct: NDArray

    def __add__(self, other: "Reliability") -> "Reliability":
        """Return the bins of both: parts of a long evaluation add up."""
        return Reliability(self.count + other.count, self.confidence + other.confidence, self.correct + other.correct)

    @property
    def mean_confidence(self) -> NDArray:
        """The mean confidence in each bin, 0 in an empty one."""
        return ratio(self.confidence, self.count)

    @property
    def accuracy(self) -> NDArray:
        """The share that is right in each bin, 0 in an empty one."""
        return ratio(self.correct, self.count)

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of confidence and accuracy, bins weighed by their size."""
        return float(ratio(np.abs(self.confidence - self.correct).sum(), self.count.sum()))


def check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}; it must be above 0.")


def find_temperature(logits: Any, labels: Any, kind: str = "softmax") -> float:
    """Return the number to divide logits by so that the labels become likeliest (Guo et al. 2017).

    The likelihood is concave in 1 / temperature, so halving finds its one maximum. One row's worth of belief in
    temperature 1 is added: with many rows it is nothing, and with a few that are all right it keeps the confidence
    from growing without end.

    ``labels`` are class numbers ``[n]`` for the kind "softmax"; bool (or 0 and 1) ``[n, C]`` for "sigmoid".
    """
    scores, truth = _checked(logits, labels, kind)
    low, high = np.log(_RANGE)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inverse = float(np.exp(middle))
        slope = _excess(scores * inverse, scores, truth, kind) + 1 - 1 / inverse
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def confidences(logits: Any, labels: Any, kind: str = "softmax", temperature: float = 1.0) -> tuple[NDArray, NDArray]:
    """Return the confidence of each prediction, float64, and whether it is right, bool.

    Softmax: of each row the likeliest class ``[n]``. Sigmoid: of each single decision, made at 0.5 ``[n · C]``.
    """
    scores, truth = _checked(logits, labels, kind)
    scores = scores / temperature
    if kind == "softmax":
        best = scores.argmax(axis=1)
        return np.exp(log_softmax(scores).max(axis=1)), best == truth
    return probabilities(np.abs(scores), "sigmoid").ravel(), ((scores >= 0) == truth.astype(np.bool_)).ravel()


def reliability(confidence: NDArray, correct: NDArray, bins: int = BINS) -> Reliability:
    """Return the bins of predictions with these confidences (0 to 1) ``[n]``, right or not ``[n]``."""
    # a bin holds its upper end, as in Guo et al.
    places = np.clip(np.ceil(np.asarray(confidence, np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(places, minlength=bins)
    sums = np.bincount(places, weights=confidence, minlength=bins)
    return Reliability(count, sums, np.bincount(places[np.asarray(correct, np.bool_)], minlength=bins))


def probabilities(logits: NDArray, kind: str = "softmax", temperature: float = 1.0) -> NDArray:
    """Return the probabilities float64 ``[n, C]`` of logits ``[n, C]`` at a temperature, without overflow."""
    scores = np.asarray(logits, np.float64) / temperature
    return softmax(scores) if kind == "softmax" else sigmoid(scores)


def find_thresholds(probabilities: Any, labels: Any, caution: float = CAUTION) -> NDArray:
    """Return a threshold for each label, float64 ``[C]``: what maximises F1, drawn in where few rows say so.

    A label is given at ``p >= threshold``. Its own best threshold lies half-way between two neighbouring
    probabilities; of equally good ones the nearest to 0.5 is taken. Then the mean is taken, in log-odds, of this
    (with the weight of the label's rows) and of the threshold that is best for all labels pooled (with the weight
    ``caution``); that one is drawn towards 0.5 in the same way.
    """
    chances, truth = _checked_probabilities(probabilities, labels)
    common = _shrunk(_best_f1(chances.ravel(), truth.ravel()), USUAL, truth.sum(), caution)
    columns = zip(chances.T, truth.T, strict=True)
    return np.array([_shrunk(_best_f1(column, there), common, there.sum(), caution) for column, there in columns])


def f1_curves(probabilities: Any, labels: Any, thresholds: Sequence[float] | NDArray) -> NDArray:
    """Return each label's F1 at each threshold, float64 ``[C, len(thresholds)]``: what a plot of them shows."""
    chances, truth = _checked_probabilities(probabilities, labels)
    curves = []
    for label in range(chances.shape[1]):
        given = _from_on(np.sort(chances[:, label]), thresholds)
        right = _from_on(np.sort(chances[truth[:, label], label]), thresholds)
        curves.append(ratio(2 * right, given + truth[:, label].sum()))
    return np.stack(curves)


def find_no_answer_threshold(differences: Any, f1: Any, answerable: Any) -> tuple[float, float]:
    """Return the threshold with the highest F1 over questions, and that F1, as SQuAD's script searches it.

    A question is left unanswered where its difference, the score of "no answer" less that of the best span ``[n]``,
    lies above the threshold. ``f1 [n]`` is what the best span would earn: on a question without an answer 0.
    """
    scores, earned, there = (np.asarray(values, np.float64) for values in (differences, f1, answerable))
    if not len(scores) or scores.shape != earned.shape or scores.shape != there.shape or scores.ndim != 1:
        raise InputError(
            f"differences, f1 and answerable have the shapes {list(scores.shape)}, {list(earned.shape)} and "
            f"{list(there.shape)}; give one of each for at least one question."
        )
    order = np.argsort(scores, kind="stable")
    scores = scores[order]
    # the first k questions are answered, the others left: k = 0 … n
    totals = np.concatenate([[0], np.cumsum(earned[order] - (1 - there[order]))]) + (1 - there).sum()
    edges = np.concatenate([[scores[0] - 1], (scores[1:] + scores[:-1]) / 2, [scores[-1] + 1]])
    apart = np.concatenate([[True], scores[1:] > scores[:-1], [True]])
    best = np.flatnonzero(apart & np.isclose(totals, totals[apart].max(), rtol=0, atol=1e-9))
    chosen = best[np.abs(edges[best]).argmin()]
    return float(edges[chosen]), float(totals[chosen] / len(scores))


def _excess(scaled: NDArray, scores: NDArray, truth: NDArray, kind: str) -> float:
    """Return by how much the expected logits exceed those of the labels: the slope in 1 / temperature."""
    chances = probabilities(scaled, kind)
    if kind == "sigmoid":
        return float(((chances - truth) * scores).sum())
    return float((chances * scores).sum() - scores[np.arange(len(scores)), truth].sum())


def _checked(logits: Any, labels: Any, kind: str) -> tuple[NDArray, NDArray]:
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}; allowed are {', '.join(map(repr, KINDS))}.")
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels)
    wanted = scores.shape if kind == "sigmoid" else scores.shape[:1]
    if scores.ndim != 2 or not scores.size or truth.shape != wanted:
        raise InputError(
            f"logits have shape {list(scores.shape)} and labels {list(truth.shape)}; give [n, C] with a row at least, "
            f"and labels {'[n, C]' if kind == 'sigmoid' else '[n]'}."
        )
    wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(wrong):
        raise InputError(f"The logits of row {wrong[0]} are not finite; a temperature needs finite ones.")
    most = 1 if kind == "sigmoid" else scores.shape[1] - 1
    if not ((truth >= 0) & (truth <= most)).all():
        raise InputError(
            f"labels hold values outside 0 to {most}; give {'switches' if most == 1 else 'class numbers'}."
        )
    return scores, truth.astype(np.int64)


def _best_f1(chances: NDArray, truth: NDArray) -> float:
    """Return the threshold with the highest F1 of one label's probabilities ``[n]``."""
    order = np.argsort(-chances, kind="stable")
    falling = chances[order]
    # the first k rows get the label: k = 1 … n
    given = np.arange(1, len(falling) + 1)
    f1 = 2 * np.cumsum(truth[order]) / (given + truth.sum())
    below = np.append(falling[1:], 0.0)
    apart = falling > below
    if not apart.any():
        return USUAL
    best = np.flatnonzero(apart & (f1 >= f1[apart].max() - 1e-12))
    thresholds = (falling[best] + below[best]) / 2
    return float(thresholds[np.abs(thresholds - USUAL).argmin()])


def _shrunk(own: float, wider: float, rows: int, caution: float) -> float:
    """Return the mean log-odds of a threshold found on so many rows and a wider one, as a threshold."""
    weight = rows / (rows + caution) if rows else 0.0
    if weight == 1:
        return own
    own_odds, wider_odds = (np.log(value / (1 - value)) for value in np.clip((own, wider), 1e-9, 1 - 1e-9))
    return float(1 / (1 + np.exp(-weight * own_odds - (1 - weight) * wider_odds)))


def _from_on(rising: NDArray, thresholds: Sequence[float] | NDArray) -> NDArray:
    """Return how many of the sorted numbers are at least each threshold."""
    return len(rising) - np.searchsorted(rising, thresholds, side="left")


def _checked_probabilities(probabilities: Any, labels: Any) -> tuple[NDArray, NDArray]:
    chances, truth = np.asarray(probabilities, np.float64), np.asarray(labels)
    if chances.ndim != 2 or not chances.size or truth.shape != chances.shape:
        raise InputError(
            f"probabilities have shape {list(chances.shape)} and labels {list(truth.shape)}; give [n, C] for both, "
            "with at least one row."
        )
    if not ((chances >= 0) & (chances <= 1)).all():
        raise InputError("probabilities hold values outside 0 to 1; give probabilities, not logits.")
    return chances, truth.astype(np.bool_)
