"""What tasks share that give probabilities: a temperature, and for classes of texts all but the answer's form."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from bertie.tasks.arrays import Array, softmax
from bertie.tasks.calibration import Reliability, check_temperature, confidences, find_temperature, reliability
from bertie.tasks.features import Features, Outputs, Values
from bertie.tasks.operations import Loss
from bertie.tasks.task import TrainableTask, WrongAnswer
from bertie.tasks.windows import WAYS, combined


class CalibrationSet(NamedTuple):
    """Logits ``[n, C]`` and their labels, as `bertie.tasks.calibration.find_temperature` takes them."""

    logits: Any
    labels: Any
    kind: str = "softmax"


@dataclass(frozen=True, kw_only=True)
class CalibratedTask(TrainableTask):
    """A task whose scores are probabilities."""

    temperature: float = 1.0  # what logits are divided by before they become scores (Guo et al. 2017)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)

    @abstractmethod
    def calibration_set(self, outputs: Outputs) -> CalibrationSet | None:
        """Return what confidence is measured by; None where there is nothing."""

    def probabilities(self, logits: Values) -> Array:
        """Return the scores of logits at the task's temperature, in float32."""
        return softmax(np.asarray(logits, np.float32) / np.float32(self.temperature))

    def tune(self, outputs: Outputs) -> Self:
        found = self.calibration_set(outputs)
        return self if found is None else replace(self, temperature=round(find_temperature(*found), 4))

    def reliability(self, outputs: Outputs) -> Reliability | None:
        found = self.calibration_set(outputs)
        return None if found is None else reliability(*confidences(*found, self.temperature))


@dataclass(frozen=True, kw_only=True)
class SequenceTask(CalibratedTask):
    """A task that finds the class of a text or a pair, by logits ``[R, C]``; a label is the number of a class.

    What a subclass adds is `decode` and `metric`; the rest it overrides where it differs.
    """

    window_scores: str = "mean"  # how the logits of an input's windows become the input's: also "max"
    saved: ClassVar[tuple[str, ...]] = (*TrainableTask.saved, "window_scores", "temperature")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"window_scores": WAYS}

    def combine(self, rows: Sequence[Any], features: Features) -> Values:
        """Return the logits ``[N, C]``."""
        return self.combine_logits(np.stack(rows), features) if rows else np.zeros((0,), np.float32)

    def combine_logits(self, logits: Any, features: Features) -> Any:
        """Return the logits ``[N, C]`` of inputs from those of their rows, arrays or tensors."""
        return combined(logits, features, self.window_scores)

    def references(self, labels: Sequence[Any]) -> Array:
        """Return class numbers ``[N]``."""
        return np.asarray(labels, np.int64)

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        return features.with_labels(self.references(labels))

    def loss(self, output: Any, features: Features) -> Loss:
        """Return the summed cross-entropy of logits ``[R, C]``."""
        from bertie.tasks.summed_losses import cross_entropy_sum

        return cross_entropy_sum(self.combine_logits(output, features), features.wanted)

    def predictions(self, outputs: Outputs) -> Values:
        """Return class numbers ``[N]``."""
        return np.asarray(outputs.values).argmax(axis=-1)

    def scores(self, values: Values) -> Array:
        """Return the score of every class, ``[N, C]``, from logits."""
        return self.probabilities(values)

    def named(self, prediction: Any) -> str:
        return self.config.id2label[int(prediction)]

    def calibration_set(self, outputs: Outputs) -> CalibrationSet | None:
        return CalibrationSet(outputs.values, self.references(outputs.labels)) if len(outputs.labels) else None

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        found = self.predictions(outputs)
        scores = np.take_along_axis(self.scores(outputs.values), np.asarray(found)[:, None], axis=1)[:, 0]
        return wrong_classes(self.references(outputs.labels), found, scores, lambda _, number: self.named(number))


def wrong_classes(
    right: Values, given: Values, scores: Array, named: Callable[[int, Any], str]
) -> list[WrongAnswer | None]:
    """Return the wrong ones of predicted classes, with their scores; ``named`` takes an input's number and a class."""
    answered = enumerate(zip(right, given, scores.tolist(), strict=True))
    return [
        None if gold == found else WrongAnswer(score, named(number, gold), named(number, found), score)
        for number, (gold, found, score) in answered
    ]
