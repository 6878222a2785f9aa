"""One class per row: accuracy, precision, recall, F1, Matthews' correlation, and the confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, nearest
from bertie.messages import listed
from bertie.metrics.counts import absent_classes, averages, class_table, precision_recall_f1, ratio, split
from bertie.metrics.streaming import Additive, Given, Scores


@dataclass(frozen=True)
class ClassificationMetric(Additive):
    """Predictions and labels ``[n]``: class numbers or class names.

    Metrics: ``accuracy``; ``precision``, ``recall`` and ``f1``: with two classes those of the positive class, with more
    the macro averages over all of ``labels`` (a class that neither occurs nor is predicted counts 0, as with
    scikit-learn's ``labels=…`` and ``zero_division=0``); ``f1_macro``, ``f1_micro`` (here equal to accuracy),
    ``f1_weighted``; ``matthews``.
    """

    labels: Sequence[str]
    positive: str | None = None  # of two classes, the positive one; None: the second, as in scikit-learn
    main = "accuracy"
    names = ("accuracy", "precision", "recall", "f1", "f1_macro", "f1_micro", "f1_weighted", "matthews")

    def __post_init__(self) -> None:
        if self.positive is not None and (len(self.labels) != 2 or self.positive not in self.labels):
            raise InputError(
                f"positive is {self.positive!r}; it must be one of two classes, here {listed(self.labels, 8)}."
            )

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        gold, predicted = self._numbers("label", labels), self._numbers("prediction", predictions)
        return (gold * len(self.labels) + predicted)[:, None]

    def statistics(self, rows: NDArray) -> NDArray:
        # per class: correctly predicted, predicted, present in the labels
        size = len(self.labels)
        gold, predicted = np.divmod(rows[:, 0], size)
        ones = np.zeros((len(rows), 3, size))
        place = np.arange(len(rows))
        ones[place, 0, gold] = gold == predicted
        ones[place, 1, predicted] = 1
        ones[place, 2, gold] = 1
        return ones.reshape(len(rows), 3 * size)

    def compute(self, sums: NDArray) -> dict[str, NDArray]:
        right, predicted, gold = split(sums, 3)
        means = averages(right, predicted, gold)
        if self.positive_class is not None:
            place = list(self.labels).index(self.positive_class)
            own = precision_recall_f1(*(values[..., place] for values in (right, predicted, gold)))
        else:
            own = means["precision_macro"], means["recall_macro"], means["f1_macro"]
        named = dict(zip(("precision", "recall", "f1"), own, strict=True))
        found = means | named | {"accuracy": means["f1_micro"], "matthews": _matthews(right, predicted, gold)}
        return {name: found[name] for name in self.names}

    def table(self, sums: NDArray) -> list[dict[str, Any]]:
        return class_table(self.labels, *split(sums, 3))

    def notes(self, sums: NDArray) -> list[str]:
        _, predicted, gold = split(sums, 3)
        is_constant = np.count_nonzero(predicted) == 1 and len(self.labels) > 1 and predicted.sum() > 1
        same = [f"Every prediction is {self.labels[int(predicted.argmax())]!r}."] if is_constant else []
        return absent_classes(self.labels, gold) + same

    def confusion(self, scores: Scores) -> NDArray:
        """Return how often each class (row) was predicted as each (column), int64 ``[C, C]``."""
        size = len(self.labels)
        return np.bincount(scores.rows()[:, 0], minlength=size * size).reshape(size, size)

    def _numbers(self, what: str, given: Any) -> NDArray:
        values = np.asarray(given)
        if values.dtype.kind in "OUT":
            return self._by_name(what, values)
        if values.dtype.kind not in "iub" or values.ndim != 1:
            raise InputError(
                f"{what}s are {values.dtype} of shape {list(values.shape)}; give one class number or name per row."
            )
        values = values.astype(np.int64)
        outside = np.flatnonzero((values < 0) | (values >= len(self.labels)))
        if len(outside):
            raise InputError(
                f"{what} {outside[0]} is class {values[outside[0]]}; classes are numbered 0 to {len(self.labels) - 1}."
            )
        return values

    def _by_name(self, what: str, values: NDArray) -> NDArray:
        try:
            return np.fromiter((self._number_of[value] for value in values.tolist()), np.int64, len(values))
        except (KeyError, TypeError):
            unknown = next((place, value) for place, value in enumerate(values.tolist()) if value not in self.labels)
            raise InputError(
                f"{what} {unknown[0]} is {unknown[1]!r}; the classes are {listed(self.labels, 8)}."
                f"{nearest(str(unknown[1]), self.labels)}"
            ) from None

    @property
    def meaning(self) -> str:  # type: ignore[override]
        if self.positive_class is not None:
            return f"precision, recall and f1 (their harmonic mean) are those of the class {self.positive_class}"
        return (
            "f1 is the harmonic mean of precision and recall; all three, and f1_macro, are unweighted means over "
            "classes; f1_weighted weights classes by their number of rows; f1_micro pools all rows"
        )

    @property
    def positive_class(self) -> str | None:
        """The class that precision, recall and F1 refer to; None unless there are exactly two classes."""
        return (self.positive or self.labels[1]) if len(self.labels) == 2 else None

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.labels)}


def _matthews(right: NDArray, predicted: NDArray, gold: NDArray) -> NDArray:
    """Return the correlation of predictions and labels, 0 where either is constant (Gorodkin 2004)."""
    rows = gold.sum(-1)
    covariance = right.sum(-1) * rows - (predicted * gold).sum(-1)
    spreads = (rows**2 - (predicted**2).sum(-1)) * (rows**2 - (gold**2).sum(-1))
    return ratio(covariance, np.sqrt(np.maximum(spreads, 0)))
