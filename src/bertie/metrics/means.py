"""Metrics that are means over rows: accuracy of multiple choice and of masked-token predictions."""

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics.counts import ratio
from bertie.metrics.streaming import Additive, Given


class Means(Additive):
    """Keeps one value per row for each of its ``names``; the metrics are the means of these."""

    def statistics(self, rows: NDArray) -> NDArray:
        return np.hstack([rows, np.ones((len(rows), 1))])

    def compute(self, sums: NDArray) -> dict[str, NDArray]:
        return {name: ratio(sums[..., column], sums[..., -1]) for column, name in enumerate(self.names)}


class MultipleChoiceMetric(Means):
    """Predictions and labels: the number of a choice, int ``[n]``. The only metric is ``accuracy``.

    Choices are not classes: the first choice of one row has nothing in common with the first of another.
    """

    main = "accuracy"
    names = ("accuracy",)

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        chosen, gold = np.asarray(predictions), np.asarray(labels)
        for what, numbers in (("prediction", chosen), ("label", gold)):
            if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
                raise InputError(
                    f"{what}s are {numbers.dtype} of shape {list(numbers.shape)}; give one number per row."
                )
        return (chosen == gold).astype(np.int64)[:, None]


class MaskedLMMetric(Additive):
    """Predictions float ``[n, 3]``: per row the correct tokens, the summed cross-entropy, and the predicted tokens.

    Labels are ignored. Metrics: ``accuracy``, ``loss`` (the mean cross-entropy per predicted token, in nats) and
    ``perplexity`` (its exponential).
    """

    main = "accuracy"
    names = ("accuracy", "loss", "perplexity")

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        return np.asarray(predictions, np.float64).reshape(-1, 3)

    def compute(self, sums: NDArray) -> dict[str, NDArray]:
        right, losses, tokens = np.moveaxis(sums, -1, 0)
        loss = ratio(losses, tokens)
        return {"accuracy": ratio(right, tokens), "loss": loss, "perplexity": np.exp(np.minimum(loss, 700.0))}
