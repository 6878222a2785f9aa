"""Scores that mean what they say: a temperature found on data kept for it, and how far confidence is from accuracy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.engine.activations import sigmoid
from bertie.errors import InputError
from bertie.metrics.bootstrap import ratio
from bertie.tasks.arrays import log_softmax, softmax

KINDS = ("softmax", "sigmoid")
BINS = 15
# The search halves this range (on a logarithmic scale) until it is narrower than rounding.
_RANGE = (1e-3, 1e3)
_HALVINGS = 50


@dataclass(frozen=True)
class Reliability:
    """How often predictions of each confidence are right, in bins of equal width: what a reliability plot shows.

    Attributes:
        count: predictions in each bin, int64 ``[bins]``.
        confidence: the sums of their confidences, float64 ``[bins]``.
        correct: how many are right, int64 ``[bins]``.
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
    """Refuse a temperature by which logits cannot be divided."""
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}; it must be above 0.")


def find_temperature(logits: Any, labels: Any, kind: str = "softmax") -> float:
    """Return the number to divide logits by so that the labels become likeliest (Guo et al. 2017).

    The likelihood is concave in 1 / temperature, so halving finds its one maximum. One row's worth of belief in
    temperature 1 is added: with many rows it is nothing, and with a few that are all right it keeps the confidence
    from growing without end.

    Args:
        logits: float ``[n, C]``.
        labels: class numbers ``[n]`` for softmax; bool (or 0 and 1) ``[n, C]`` for sigmoid.
        kind: "softmax" for one class a row, "sigmoid" for any number of labels.
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
    Arguments as in `find_temperature`.
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
