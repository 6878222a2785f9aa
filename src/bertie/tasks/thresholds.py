"""From which probability on a label is given, and a question answered: found on data kept for it, to maximise F1."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics.bootstrap import ratio

USUAL = 0.5
# At so many rows a label's own threshold and the common one count alike. For 28 emotions (logistic regression, other
# rows than those tuned on) 300, 1,000 and 5,000 rows gave macro F1 0.340, 0.370, 0.387 with 0; 0.360, 0.373, 0.390 with
# 3; 0.360, 0.367, 0.384 with 10.
CAUTION = 3


def find_thresholds(probabilities: Any, labels: Any, caution: float = CAUTION) -> NDArray:
    """Return a threshold for each label, float64 ``[C]``: what maximises F1, drawn in where few rows say so.

    A label is given at ``p >= threshold``. Its own best threshold lies half-way between two neighbouring
    probabilities; of equally good ones the nearest to 0.5 is taken. Then the mean is taken, in log-odds, of this
    (with the weight of the label's rows) and of the threshold that is best for all labels pooled (with the weight
    ``caution``); that one is drawn towards 0.5 in the same way.

    Args:
        probabilities: float ``[n, C]``, at the temperature that will be used.
        labels: bool (or 0 and 1) ``[n, C]``.
        caution: 0 gives each label that has a row its own best threshold.
    """
    chances, truth = _checked(probabilities, labels)
    common = _drawn(_best(chances.ravel(), truth.ravel()), USUAL, truth.sum(), caution)
    columns = zip(chances.T, truth.T, strict=True)
    return np.array([_drawn(_best(column, there), common, there.sum(), caution) for column, there in columns])


def f1_curves(probabilities: Any, labels: Any, thresholds: Sequence[float] | NDArray) -> NDArray:
    """Return each label's F1 at each threshold, float64 ``[C, len(thresholds)]``: what a plot of them shows."""
    chances, truth = _checked(probabilities, labels)
    curves = []
    for label in range(chances.shape[1]):
        given = _from_on(np.sort(chances[:, label]), thresholds)
        right = _from_on(np.sort(chances[truth[:, label], label]), thresholds)
        curves.append(ratio(2 * right, given + truth[:, label].sum()))
    return np.stack(curves)


def find_no_answer_threshold(differences: Any, f1: Any, answerable: Any) -> tuple[float, float]:
    """Return the threshold with the highest F1 over questions, and that F1, as SQuAD's script searches it.

    A question is left unanswered where its difference lies above the threshold.

    Args:
        differences: the score of "no answer" less that of the best span ``[n]``.
        f1: what the best span would earn ``[n]``: its F1, and on a question without an answer 0.
        answerable: whether the question has an answer ``[n]``.
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


def _best(chances: NDArray, truth: NDArray) -> float:
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


def _drawn(own: float, wider: float, rows: int, caution: float) -> float:
    """Return the mean log-odds of a threshold found on so many rows and a wider one, as a threshold."""
    weight = rows / (rows + caution) if rows else 0.0
    if weight == 1:
        return own
    own_odds, wider_odds = (np.log(value / (1 - value)) for value in np.clip((own, wider), 1e-9, 1 - 1e-9))
    return float(1 / (1 + np.exp(-weight * own_odds - (1 - weight) * wider_odds)))


def _from_on(rising: NDArray, thresholds: Sequence[float] | NDArray) -> NDArray:
    """Return how many of the sorted numbers are at least each threshold."""
    return len(rising) - np.searchsorted(rising, thresholds, side="left")


def _checked(probabilities: Any, labels: Any) -> tuple[NDArray, NDArray]:
    chances, truth = np.asarray(probabilities, np.float64), np.asarray(labels)
    if chances.ndim != 2 or not chances.size or truth.shape != chances.shape:
        raise InputError(
            f"probabilities have shape {list(chances.shape)} and labels {list(truth.shape)}; give [n, C] for both, "
            "with at least one row."
        )
    if not ((chances >= 0) & (chances <= 1)).all():
        raise InputError("probabilities hold values outside 0 to 1; give probabilities, not logits.")
    return chances, truth.astype(np.bool_)
