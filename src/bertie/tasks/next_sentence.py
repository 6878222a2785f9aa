"""Next sentence: does the second text of a pair follow the first? (BERT, section 3.1, task 2)"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bertie.errors import InputError
from bertie.metrics import ClassificationMetric, Metric
from bertie.tasks.arrays import Array, softmax
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model
from bertie.tasks.trainable import Judged, WindowedTask
from bertie.tasks.windows import combined

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class NextSentence(WindowedTask):
    """An answer is ``{"is_next": bool, "score": float}``; the score is the probability that B follows A.

    Args:
        label_smoothing: the share of each label that is learned as any class alike; figures take labels as they are.
    """

    label_smoothing: float = 0.0
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": ClassificationMetric}

    def check(self, inputs: Sequence[Any], first: int) -> None:
        super().check(inputs, first)
        for index, one in enumerate(inputs):
            if not isinstance(self.read(one), tuple):
                raise InputError(f"Input {first + index} is no pair of texts; give (A, B), or a mapping with both.")

    def run(self, model: Model, features: Features) -> Any:
        """Return the logits ``[R, 2]``: column 0 speaks for "B follows A"."""
        return model.next_sentence(features)

    def decode(self, outputs: Outputs) -> list[dict[str, Any]]:
        logits = np.reshape(np.asarray(outputs.values, np.float32), (-1, 2)) / self.temperature
        return [{"is_next": score >= 0.5, "score": score} for score in softmax(logits)[:, 0].tolist()]

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with labels: 0 where B follows A, 1 where it does not."""
        return features.with_labels(np.asarray(labels, np.int64))

    def divisor(self, features: Features) -> float:
        return float(features.num_inputs)

    def loss(self, output: "Tensor", features: Features) -> "Tensor":
        from bertie.tasks.summed_losses import cross_entropy_sum

        logits = combined(output, features, self.window_scores)
        return cross_entropy_sum(logits, features.wanted, smoothing=self.label_smoothing)

    def metric(self) -> Metric:
        return ClassificationMetric(["follows", "does not follow"], positive="follows")

    def judged(self, outputs: Outputs) -> Judged | None:
        return Judged(outputs.values, outputs.labels) if len(outputs.labels) else None

    def predictions(self, outputs: Outputs) -> Array:
        """Return class numbers ``[N]``."""
        return np.asarray(outputs.values).argmax(axis=-1)
