"""Any number of labels per row: F1 over labels and over rows, exact match, and Hamming loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics.counts import absent_classes, averages, class_table, ratio, split
from bertie.metrics.streaming import Additive, Given


@dataclass(frozen=True)
class MultiLabelMetric(Additive):
    """Predictions and labels bool (or 0 and 1) ``[n, C]``.

    Metrics: ``f1`` (= ``f1_macro``, the mean over labels; one that neither occurs nor is predicted counts 0),
    ``f1_micro``, ``f1_weighted``, ``precision`` and ``recall`` (macro), ``precision_micro``, ``recall_micro``;
    ``accuracy`` (the share of rows with all labels correct) and ``hamming`` (the share of wrong single decisions).
    """

    labels: Sequence[str]
    meaning = (
        "f1 is the harmonic mean of precision and recall; all three, and f1_macro, are unweighted means over labels; "
        "f1_weighted weights labels by their number of rows; …_micro pools all decisions; accuracy is the share of "
        "rows with all labels correct"
    )
    main = "f1_macro"
    names = (
        *("accuracy", "precision", "recall", "f1", "f1_macro", "f1_micro", "f1_weighted"),
        *("precision_micro", "recall_micro", "hamming"),
    )

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        # as bits, uint8 [n, 2 · ceil(C / 8)]
        both = (self._decisions("predictions", predictions), self._decisions("labels", labels))
        return np.hstack([np.packbits(decisions, axis=1) for decisions in both])

    def statistics(self, rows: NDArray) -> NDArray:
        # per label: correctly predicted, predicted, present; then whether all labels are correct, and 1
        predicted, gold = (
            np.unpackbits(bits, axis=1, count=len(self.labels)).astype(np.float64) for bits in np.split(rows, 2, axis=1)
        )
        exact = (predicted == gold).all(axis=1, keepdims=True)
        return np.hstack([predicted * gold, predicted, gold, exact, np.ones_like(exact)])

    def compute(self, sums: NDArray) -> dict[str, NDArray]:
        right, predicted, gold = split(sums[..., :-2], 3)
        exact, rows = sums[..., -2], sums[..., -1]
        means = averages(right, predicted, gold)
        wrong = (predicted + gold - 2 * right).sum(-1)
        found = {
            **means,
            **{name: means[f"{name}_macro"] for name in ("precision", "recall", "f1")},
            "accuracy": ratio(exact, rows),
            "hamming": ratio(wrong, rows * len(self.labels)),
        }
        return {name: found[name] for name in self.names}

    def table(self, sums: NDArray) -> list[dict[str, Any]]:
        return class_table(self.labels, *split(sums[:-2], 3))

    def notes(self, sums: NDArray) -> list[str]:
        _, predicted, gold = split(sums[:-2], 3)
        missed = [label for label, count, rows in zip(self.labels, predicted, gold, strict=True) if rows and not count]
        never = [f"Never predicted: {', '.join(map(repr, missed))}."] if missed else []
        return absent_classes(self.labels, gold) + never

    def _decisions(self, what: str, given: Any) -> NDArray:
        values = np.asarray(given)
        if values.ndim != 2 or values.shape[1] != len(self.labels):
            raise InputError(f"{what} have shape {list(values.shape)}; it must be [n, {len(self.labels)}].")
        if values.dtype != np.bool_ and not np.isin(values, (0, 1)).all():
            raise InputError(f"{what} hold values other than 0 and 1; apply the thresholds first.")
        return values.astype(np.bool_)
