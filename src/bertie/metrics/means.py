"""Figures that are means over rows: right choices among several, and hidden words that are guessed."""

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics.counts import ratio
from bertie.metrics.streaming import Additive, Given


class Means(Additive):
    """Keeps of each row a value for each of its ``names``, whose means are the figures."""

    def statistics(self, rows: NDArray) -> NDArray:
        return np.hstack([rows, np.ones((len(rows), 1))])

    def figures(self, sums: NDArray) -> dict[str, NDArray]:
        return {name: ratio(sums[..., column], sums[..., -1]) for column, name in enumerate(self.names)}


class MultipleChoiceMetric(Means):
    """Predictions and labels: the number of a choice, int ``[n]``. The one figure is ``accuracy``.

    Choices are no classes: the first of one row has nothing in common with the first of another.
    """

    main = "accuracy"
    names = ("accuracy",)

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        chosen, gold = np.asarray(predictions), np.asarray(labels)
        for what, numbers in (("prediction", chosen), ("label", gold)):
            if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
                raise InputError(f"{what}s are {numbers.dtype} of shape {list(numbers.shape)}; give one number a row.")
        return (chosen == gold).astype(np.int64)[:, None]


class MaskedLMMetric(Additive):
    """Predictions float ``[n, 3]``: of each row how many guesses are right, their summed cross-entropy, and how many.

    Labels are not looked at. Figures: ``accuracy``, ``loss`` (the mean cross-entropy of a guess, in nats) and
    ``perplexity`` (its exponential).
    """

    main = "accuracy"
    names = ("accuracy", "loss", "perplexity")

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        return np.asarray(predictions, np.float64).reshape(-1, 3)

    def figures(self, sums: NDArray) -> dict[str, NDArray]:
        right, lost, guesses = np.moveaxis(sums, -1, 0)
        loss = ratio(lost, guesses)
        return {"accuracy": ratio(right, guesses), "loss": loss, "perplexity": np.exp(np.minimum(loss, 700.0))}
