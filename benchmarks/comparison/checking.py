"""Whether an engine's answers are the reference's: close in fp32, of like direction in less, equal for ids."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# fp32: largest difference, on the scale max(1, largest answer of the reference)
TOLERANCE = 1e-4
# less than fp32: an engine whose mean cosine lies below does other work, and its speed says nothing
FLOOR = 0.9


@dataclass(frozen=True)
class Check:
    """How far an engine's answers are from the reference's.

    Attributes:
        difference: the largest, on the scale max(1, largest answer of the reference).
        cosine_mean: over texts; 1 for ids and losses.
        cosine_min: the worst text's.
        problem: why the engine is not timed; empty if it is.
    """

    difference: float
    cosine_mean: float = 1.0
    cosine_min: float = 1.0
    problem: str = ""


def check(found: NDArray[Any], reference: NDArray[Any], task: str, precision: str) -> Check:
    """Compare answers ``[N, D]`` (ids and losses: one line) with the reference's."""
    if found.shape != reference.shape:
        kind = "ids" if task == "tokenize" else "answers"
        return Check(float("inf"), 0, 0, f"It gives {kind} of shape {found.shape} where {reference.shape} belongs.")
    if task == "tokenize":
        wrong = int((found != reference).sum())
        return Check(float(wrong), problem=f"{wrong} of its ids are not the reference's." if wrong else "")
    scale = max(1.0, float(np.abs(reference).max()))
    difference = float(np.abs(found.astype(np.float64) - reference).max()) / scale
    cosines = _cosines(found.astype(np.float64), reference.astype(np.float64))
    mean, worst = float(cosines.mean()), float(cosines.min())
    return Check(difference, mean, worst, _problem(difference, mean, precision))


def _problem(difference: float, cosine: float, precision: str) -> str:
    if not np.isfinite(difference):
        return "Its answers hold NaN or infinity."
    if precision == "fp32" and difference > TOLERANCE:
        return f"Its answers differ by {difference:.1e}; fp32 may differ by {TOLERANCE:.0e}."
    if cosine < FLOOR:
        return f"Its answers have a mean cosine of {cosine:.3f} to fp32; below {FLOOR} nothing is timed."
    return ""


def _cosines(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    # two zero vectors are the same
    same = (first == second).all(axis=-1)
    cosines: NDArray[np.float64] = np.where(same, 1.0, (first * second).sum(-1) / np.where(lengths > 0, lengths, 1.0))
    return cosines
