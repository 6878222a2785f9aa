"""From counts to metrics: ratios; precision, recall and F1 per class, and their averages. Letters: C classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.messages import listed


def ratio(part: NDArray, whole: NDArray) -> NDArray:
    """Return ``part / whole``, 0 where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


def precision_recall_f1(right: NDArray, predicted: NDArray, gold: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return precision, recall and F1 from counts of any shape."""
    return ratio(right, predicted), ratio(right, gold), ratio(2 * right, predicted + gold)


def averages(right: NDArray, predicted: NDArray, gold: NDArray) -> dict[str, NDArray]:
    """Return the averages over classes of counts ``[..., C]``: macro, micro, and (F1) weighted by support."""
    per_class = precision_recall_f1(right, predicted, gold)
    pooled = precision_recall_f1(right.sum(-1), predicted.sum(-1), gold.sum(-1))
    found = {"f1_weighted": ratio((per_class[2] * gold).sum(-1), gold.sum(-1))}
    for name, values, value in zip(("precision", "recall", "f1"), per_class, pooled, strict=True):
        found |= {f"{name}_macro": values.mean(-1), f"{name}_micro": value}
    return found


def class_table(labels: Sequence[str], right: NDArray, predicted: NDArray, gold: NDArray) -> list[dict[str, Any]]:
    """Return one row per class from counts ``[C]``."""
    columns = [values.tolist() for values in (*precision_recall_f1(right, predicted, gold), gold, predicted)]
    return [
        {"label": label, "precision": p, "recall": r, "f1": f1, "support": int(support), "predicted": int(count)}
        for label, p, r, f1, support, count in zip(labels, *columns, strict=True)
    ]


def absent_classes(labels: Sequence[str], gold: NDArray) -> list[str]:
    """Return a note on classes that no row is labelled with, if there are any."""
    absent = [label for label, rows in zip(labels, gold, strict=True) if not rows]
    note = f"No row has the label {listed(absent, 8)}: F1 there is 0 and lowers the macro averages."
    return [note] if absent else []


def split(sums: NDArray, parts: int) -> tuple[NDArray, ...]:
    """Split sums ``[..., parts · C]`` into ``parts`` arrays ``[..., C]``."""
    return tuple(np.split(sums, parts, axis=-1))
