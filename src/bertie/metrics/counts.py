"""From counts to figures: ratios, and precision, recall and F1 of classes and their averages. Letters: C classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.messages import listed


def ratio(part: NDArray, whole: NDArray) -> NDArray:
    """Return ``part / whole``, and 0 where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


def precision_recall_f1(right: NDArray, predicted: NDArray, gold: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return the three of counts of any shape."""
    return ratio(right, predicted), ratio(right, gold), ratio(2 * right, predicted + gold)


def averages(right: NDArray, predicted: NDArray, gold: NDArray) -> dict[str, NDArray]:
    """Return the averages over classes of counts ``[..., C]``: each class alike (macro), by support, and pooled."""
    of_each = precision_recall_f1(right, predicted, gold)
    pooled = precision_recall_f1(right.sum(-1), predicted.sum(-1), gold.sum(-1))
    found = {"f1_weighted": ratio((of_each[2] * gold).sum(-1), gold.sum(-1))}
    for name, values, value in zip(("precision", "recall", "f1"), of_each, pooled, strict=True):
        found |= {f"{name}_macro": values.mean(-1), f"{name}_micro": value}
    return found


def rows_of_table(labels: Sequence[str], right: NDArray, predicted: NDArray, gold: NDArray) -> list[dict[str, Any]]:
    """Return one row a class from counts ``[C]``."""
    columns = [values.tolist() for values in (*precision_recall_f1(right, predicted, gold), gold, predicted)]
    return [
        {"label": label, "precision": p, "recall": r, "f1": f1, "support": int(there), "predicted": int(said)}
        for label, p, r, f1, there, said in zip(labels, *columns, strict=True)
    ]


def absent_classes(labels: Sequence[str], gold: NDArray) -> list[str]:
    """Return a sentence if there are classes without a row."""
    absent = [label for label, rows in zip(labels, gold, strict=True) if not rows]
    what = f"No row has the label {listed(absent, 8)}: F1 there is 0 and lowers the macro averages."
    return [what] if absent else []


def split(sums: NDArray, parts: int) -> tuple[NDArray, ...]:
    """Return sums ``[..., parts · C]`` as ``parts`` arrays ``[..., C]``."""
    return tuple(np.split(sums, parts, axis=-1))
