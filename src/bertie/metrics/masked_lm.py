"""Hidden words that are guessed, several in every row: how often rightly, and how surely."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.metrics.bootstrap import ratio
from bertie.metrics.streaming import Additive


class MaskedLMMetric(Additive):
    """Predictions float ``[n, 3]``: of each row how many guesses are right, their summed cross-entropy, and how many.

    Labels are not looked at. Figures: ``accuracy``, ``loss`` (the mean cross-entropy of a guess, in nats) and
    ``perplexity`` (its exponential).
    """

    main: ClassVar[str] = "accuracy"
    names: ClassVar[tuple[str, ...]] = ("accuracy", "loss", "perplexity")

    def rows(self, predictions: Any, labels: Any) -> NDArray:
        """Return the three as they are, float64 ``[n, 3]``."""
        del labels
        return np.asarray(predictions, np.float64).reshape(-1, 3)

    def statistics(self, rows: NDArray) -> NDArray:
        """Return the three ``[n, 3]``."""
        return rows

    def figures(self, sums: NDArray) -> dict[str, NDArray]:
        right, lost, guesses = np.moveaxis(sums, -1, 0)
        loss = ratio(lost, guesses)
        return {"accuracy": ratio(right, guesses), "loss": loss, "perplexity": np.exp(np.minimum(loss, 700.0))}
