"""BertRegressor: a number for a text or a pair of texts."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from bertie.errors import InputError
from bertie.estimators.estimator import LearningEstimator
from bertie.estimators.inputs import row_of, texts_in


@dataclass(eq=False, repr=False)
class BertRegressor(RegressorMixin, LearningEstimator):
    """A regression of texts for scikit-learn: ``BertRegressor("all-MiniLM-L6-v2").fit(texts, numbers)``.

    Numbers are standardized for training, as by `bertie.finetune`, so their scale does not matter.

    Args:
        model, epochs, learning_rate, batch_size, patience, seed, max_length, windows, overlap: as for `BertClassifier`.
        dev, lora, settings, device, show_progress: as for `BertClassifier`.

    Attributes:
        pipeline_: the fitted `bertie.Pipeline`.
        metrics_: on the dev rows, at the best epoch; empty without dev rows.
        history_: of the training; None for a loaded estimator.

    Raises:
        NotFittedError: a method that needs the fitted model is called before `fit`.
        InputTypeError: ``X`` holds something other than texts.
    """

    task: ClassVar[str] = "text-classification"

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune the model on n texts or pairs, as for `BertClassifier`, and n numbers.

        Raises:
            InputError: all numbers are the same, one is not finite, or `bertie.finetune` refuses the rows.
        """
        texts = texts_in(X)
        check_consistent_length(texts, y)
        numbers = np.asarray(column_or_1d(y, warn=True), np.float64)
        if not np.isfinite(numbers).all():
            place = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise InputError(f"y[{place}] is {numbers[place]}; give a finite number for each text.")
        rows = [row_of(text, number) for text, number in zip(texts, numbers.tolist(), strict=True)]
        # rather than spearman: its square is R² (``score``) if scale and offset are right
        self._learn(rows, "regression", metric="pearson")
        return self

    def predict(self, X: Any) -> NDArray[np.float32]:
        """Return a number for each text, float32 ``[n]``."""
        check_is_fitted(self)
        return self._scores(texts_in(X))[:, 0]
