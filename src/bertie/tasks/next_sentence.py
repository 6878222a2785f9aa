"""Next sentence: does the second text of a pair follow the first? (BERT, section 3.1, task 2)"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bertie.metrics import ClassificationMetric, Metric
from bertie.tasks.calibrated_tasks import SequenceTask
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, Loss

_CLASSES = ("follows", "does not follow")


@dataclass(frozen=True, kw_only=True)
class NextSentence(SequenceTask):
    """An answer is ``{"is_next": bool, "score": float}``; the score is the probability that B follows A.

    A label is 0 where B follows A, and 1 where it does not.
    """

    label_smoothing: float = 0.0  # the share of each label spread evenly over both classes, in training only
    training_options: ClassVar[tuple[str, ...]] = ("label_smoothing",)
    pair: ClassVar[str] = "(A, B), or a mapping with both"
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": ClassificationMetric}

    def run(self, model: Model, features: Features) -> Computed:
        """Return the logits ``[R, 2]``: column 0 is "B follows A"."""
        return model.next_sentence(features)

    def decode(self, outputs: Outputs) -> list[dict[str, Any]]:
        scores = self.probabilities(np.reshape(outputs.values, (-1, 2)))[:, 0].tolist()
        return [{"is_next": score >= 0.5, "score": score} for score in scores]

    def loss(self, output: Any, features: Features) -> Loss:
        from bertie.tasks.summed_losses import cross_entropy_sum

        return cross_entropy_sum(
            self.combine_logits(output, features), features.targets, smoothing=self.label_smoothing
        )

    def metric(self) -> Metric:
        return ClassificationMetric(_CLASSES, positive=_CLASSES[0])

    def describe(self, prediction: Any) -> str:
        return _CLASSES[prediction]
