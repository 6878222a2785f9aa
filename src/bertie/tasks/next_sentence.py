"""Next sentence: does the second text of a pair follow the first? (BERT, section 3.1, task 2)"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from bertie.errors import InputError
from bertie.metrics import ClassificationMetric, Metric
from bertie.packing import Packed
from bertie.tasks.calibration import Reliability, check_temperature, confidences, find_temperature, reliability
from bertie.tasks.combining import WAYS, combined, combined_logits
from bertie.tasks.features import Array, Features, Values
from bertie.tasks.objectives import cross_entropy_sum
from bertie.tasks.trainable import TrainableTask


@dataclass(frozen=True, kw_only=True)
class NextSentence(TrainableTask):
    """An answer is ``{"is_next": bool, "score": float}``; the score is the probability that B follows A.

    Args:
        window_scores: how the logits of a pair's windows become the pair's: ``"mean"`` or ``"max"``.
        temperature: what logits are divided by before they become scores (Guo et al. 2017).
        label_smoothing: the share of each label that is learned as any class alike; figures take labels as they are.
    """

    window_scores: str = "mean"
    temperature: float = 1.0
    label_smoothing: float = 0.0
    saved: ClassVar[tuple[str, ...]] = (*TrainableTask.saved, "window_scores", "temperature")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"window_scores": WAYS}
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": ClassificationMetric}

    def __post_init__(self) -> None:
        self.check_choices(vars(self))
        check_temperature(self.temperature)

    def check(self, inputs: Sequence[Any], first: int) -> None:
        """As `Task.check`; in addition every input must be a pair.

        Raises:
            InputError: an input that is a single text.
        """
        super().check(inputs, first)
        for index, one in enumerate(inputs):
            if not isinstance(self.read(one), tuple):
                raise InputError(f"Input {first + index} is no pair of texts; give (A, B), or a mapping with both.")

    def run(self, model: Any, packed: Packed, features: Features) -> Tensor:
        """Return the logits ``[R, 2]``: column 0 speaks for "B follows A"."""
        del features
        # not model(packed).logits: a model with both pretraining heads serves as well, without its other head
        pooled: Tensor = model.bert(packed, return_dict=True).pooler_output
        return model.cls.seq_relationship(pooled)

    def combine(self, rows: Sequence[Any], features: Features) -> Array:
        """Return the logits ``[N, 2]``."""
        return combined(rows, features, self.window_scores)

    def decode(self, values: Values, features: Features) -> list[dict[str, Any]]:
        """Return the probability of each pair."""
        del features
        logits = torch.as_tensor(np.asarray(values, np.float32)).reshape(len(values), -1) / self.temperature
        return [{"is_next": score >= 0.5, "score": score} for score in logits.softmax(dim=-1)[:, 0].tolist()]

    def labelled(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with labels: 0 where B follows A, 1 where it does not."""
        return features.with_labels(np.asarray(labels, np.int64))

    def divisor(self, features: Features) -> float:
        """Return the number of pairs."""
        return float(features.num_inputs)

    def loss(self, output: Tensor, features: Features) -> Tensor:
        """Return the summed cross-entropy."""
        assert features.labels is not None
        wanted = torch.from_numpy(features.labels.values).to(output.device)
        logits = combined_logits(output, features, self.window_scores)
        return cross_entropy_sum(logits, wanted, smoothing=self.label_smoothing)

    def metric(self) -> Metric:
        """Return accuracy and F1."""
        return ClassificationMetric(["follows", "does not follow"], positive="follows")

    def tuned(self, values: Values, features: Features, labels: Sequence[Any]) -> Self:
        """Return the task with the likeliest temperature."""
        del features
        return replace(self, temperature=round(find_temperature(values, labels), 4)) if len(labels) else self

    def reliability(self, values: Values, features: Features, labels: Sequence[Any]) -> Reliability | None:
        """Return how often answers of each confidence are right."""
        del features
        return reliability(*confidences(values, labels, temperature=self.temperature)) if len(labels) else None

    def predictions(self, values: Values, features: Features) -> Array:
        """Return class numbers ``[N]``."""
        del features
        return np.asarray(values).argmax(axis=-1)
