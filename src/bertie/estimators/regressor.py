"""BertRegressor: a number for a text or a pair of texts."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from bertie.errors import InputError
from bertie.estimators.inputs import row_of, texts_in
from bertie.estimators.learning import LearningEstimator
from bertie.estimators.scoring import scores_of
from bertie.finetuning.examples import Rows
from bertie.finetuning.parts import is_share


@dataclass(eq=False, repr=False)
class BertRegressor(RegressorMixin, LearningEstimator):
    """A regression of texts for scikit-learn: ``BertRegressor("all-MiniLM-L6-v2").fit(texts, numbers)``.

    Numbers of any size are learned alike: they are brought to mean 0 and deviation 1, and the head of the fitted model
    then answers in their own unit.

    Args:
        model, epochs, learning_rate, batch_size, patience, seed, max_length, windows, overlap: as for `BertClassifier`.
        tune, lora, settings, device, show_progress: as for `BertClassifier`.

    Attributes:
        pipeline_: the fitted `bertie.Pipeline`.
        figures_: of the rows kept for tuning, at the best epoch; empty if none were kept.
        history_: of the training.
    """

    task: ClassVar[str] = "text-classification"

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune the model on texts and their numbers.

        Args:
            X: n texts or pairs, as for `BertClassifier`.
            y: n numbers.

        Raises:
            InputError: all numbers are the same, one is not finite, and what `bertie.finetune` refuses.
            InputTypeError: an ``X`` that holds no texts.
        """
        texts = texts_in(X)
        check_consistent_length(texts, y)
        numbers = np.asarray(column_or_1d(y, warn=True), np.float64)
        if not np.isfinite(numbers).all():
            place = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise InputError(f"y[{place}] is {numbers[place]}; give a finite number for each text.")
        mean, scale = float(numbers.mean()), float(numbers.std()) or 1.0
        rows = [row_of(text, (y - mean) / scale) for text, y in zip(texts, numbers.tolist(), strict=True)]
        # of pearson and spearman the one that is R² once the scale is right
        self._learn(rows, self._scaled(mean, scale), "regression", metric="pearson")
        _answer_in_unit(self.pipeline_.model.classifier, mean, scale)
        units = {"mse": scale**2, "mae": scale}
        self.figures_ = {
            name: None if value is None else value * units.get(name, 1.0) for name, value in self.figures_.items()
        }
        return self

    def predict(self, X: Any) -> NDArray[np.float32]:
        """Return a number for each text, float32 ``[n]``.

        Raises:
            NotFittedError: `fit` comes first.
        """
        check_is_fitted(self)
        return scores_of(self.pipeline_, texts_in(X))[:, 0]

    def _scaled(self, mean: float, scale: float) -> Any:
        """Return ``tune``, its numbers as those to learn are, if it is a source."""
        if is_share(self.tune):
            return self.tune
        examples = Rows("sequence-classification", kind="regression", name="tune").read(self.tune)
        return [row_of(example.text, (example.label - mean) / scale) for example in examples]


def _answer_in_unit(head: torch.nn.Linear, mean: float, scale: float) -> None:
    """Let a head that learned (y − mean) / scale answer y."""
    with torch.no_grad():
        head.weight.mul_(scale)
        head.bias.mul_(scale).add_(mean)
