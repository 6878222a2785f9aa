"""One of several choices, which mean something else in every row: how often the right one is taken."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics.bootstrap import ratio
from bertie.metrics.streaming import Additive


class MultipleChoiceMetric(Additive):
    """Predictions and labels: the number of a choice, int ``[n]``. The one figure is ``accuracy``.

    Choices are no classes: the first of one row has nothing in common with the first of another.
    """

    main: ClassVar[str] = "accuracy"
    names: ClassVar[tuple[str, ...]] = ("accuracy",)

    def rows(self, predictions: Any, labels: Any) -> NDArray:
        """Return whether each row is right, int64 ``[n, 1]``."""
        chosen, gold = np.asarray(predictions), np.asarray(labels)
        for what, numbers in (("prediction", chosen), ("label", gold)):
            if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
                raise InputError(f"{what}s are {numbers.dtype} of shape {list(numbers.shape)}; give one number a row.")
        return (chosen == gold).astype(np.int64)[:, None]

    def statistics(self, rows: NDArray) -> NDArray:
        """Return whether each is right, and a 1 ``[n, 2]``."""
        return np.hstack([rows, np.ones((len(rows), 1))])

    def figures(self, sums: NDArray) -> dict[str, NDArray]:
        """Return the share that is right."""
        return {"accuracy": ratio(sums[..., 0], sums[..., 1])}
