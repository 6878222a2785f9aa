"""Precision, recall and F1 from counts of what was right, predicted and there; nothing there is 0, never NaN."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ratio(part: NDArray, whole: NDArray) -> NDArray:
    """Return ``part / whole``, and 0 where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


def precision_recall_f1(right: NDArray, predicted: NDArray, gold: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return the three of counts of any shape."""
    return ratio(right, predicted), ratio(right, gold), ratio(2 * right, predicted + gold)


def averages(right: NDArray, predicted: NDArray, gold: NDArray) -> dict[str, NDArray]:
    """Return the averages over classes of counts ``[..., C]``: each class alike (macro), by support, and pooled."""
    precision, recall, f1 = precision_recall_f1(right, predicted, gold)
    pooled = precision_recall_f1(right.sum(-1), predicted.sum(-1), gold.sum(-1))
    return {
        "precision_macro": precision.mean(-1),
        "recall_macro": recall.mean(-1),
        "f1_macro": f1.mean(-1),
        "precision_micro": pooled[0],
        "recall_micro": pooled[1],
        "f1_micro": pooled[2],
        "f1_weighted": ratio((f1 * gold).sum(-1), gold.sum(-1)),
    }


def rows_of_table(labels: Sequence[str], right: NDArray, predicted: NDArray, gold: NDArray) -> list[dict[str, Any]]:
    """Return one row a class from counts ``[C]``: label, precision, recall, f1, support and predicted."""
    columns = np.stack([*precision_recall_f1(right, predicted, gold)], axis=1).tolist()
    return [
        {
            "label": label,
            "precision": values[0],
            "recall": values[1],
            "f1": values[2],
            "support": int(there),
            "predicted": int(said),
        }
        for label, values, there, said in zip(labels, columns, gold, predicted, strict=True)
    ]


def split(sums: NDArray, parts: int) -> tuple[NDArray, ...]:
    """Return sums ``[..., parts · C]`` as ``parts`` arrays ``[..., C]``."""
    return tuple(np.split(sums, parts, axis=-1))
