"""The base of tasks that give probabilities, with a temperature, and of those that classify texts or pairs."""

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
from bertie.tasks.windows import WINDOW_REDUCTIONS, reduce_windows


class CalibrationSet(NamedTuple):
    """Logits ``[n, C]`` and their labels, as `bertie.tasks.calibration.find_temperature` takes them."""

    logits: Any
    labels: Any
    kind: str = "softmax"


@dataclass(frozen=True, kw_only=True)
class CalibratedTask(TrainableTask):
    """A task whose scores are probabilities."""

    temperature: float = 1.0  # divides logits before they become scores (Guo et al. 2017)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)

    @abstractmethod
    def calibration_set(self, outputs: Outputs) -> CalibrationSet | None:
        """Return the logits and labels that confidence is calibrated on; None if there are none."""

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
    """A task that classifies a text or a pair by logits ``[R, C]``; a label is a class number.

    A subclass adds `decode` and `metric`, and overrides the rest where it differs.
    """

    window_scores: str = "mean"  # how the logits of an input's windows are combined: "mean" or "max"
    saved: ClassVar[tuple[str, ...]] = (*TrainableTask.saved, "window_scores", "temperature")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"window_scores": WINDOW_REDUCTIONS}

    def combine(self, rows: Sequence[Any], features: Features) -> Values:
        """Return the logits ``[N, C]``."""
        return self.combine_logits(np.stack(rows), features) if rows else np.zeros((0,), np.float32)

    def combine_logits(self, logits: Any, features: Features) -> Any:
        """Return the logits ``[N, C]`` of inputs from those of their rows, arrays or tensors."""
        return reduce_windows(logits, features, self.window_scores)

    def references(self, labels: Sequence[Any]) -> Array:
        """Return class numbers ``[N]``."""
        return np.asarray(labels, np.int64)

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        return features.with_labels(self.references(labels))

    def loss(self, output: Any, features: Features) -> Loss:
        """Return the summed cross-entropy of logits ``[R, C]``."""
        from bertie.tasks.summed_losses import cross_entropy_sum

        return cross_entropy_sum(self.combine_logits(output, features), features.targets)

    def predictions(self, outputs: Outputs) -> Values:
        """Return class numbers ``[N]``."""
        return np.asarray(outputs.values).argmax(axis=-1)

    def scores(self, values: Values) -> Array:
        """Return the scores of all classes, ``[N, C]``, from logits."""
        return self.probabilities(values)

    def describe(self, prediction: Any) -> str:
        return self.config.id2label[int(prediction)]

    def calibration_set(self, outputs: Outputs) -> CalibrationSet | None:
        return CalibrationSet(outputs.values, self.references(outputs.labels)) if len(outputs.labels) else None

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        found = self.predictions(outputs)
        scores = np.take_along_axis(self.scores(outputs.values), np.asarray(found)[:, None], axis=1)[:, 0]
        return wrong_classes(self.references(outputs.labels), found, scores, lambda _, number: self.describe(number))


def wrong_classes(
    labels: Values, predictions: Values, scores: Array, describe: Callable[[int, Any], str]
) -> list[WrongAnswer | None]:
    """Return the wrong predictions of classes with their scores; ``describe`` takes an input's number and a class."""
    answers = enumerate(zip(labels, predictions, scores.tolist(), strict=True))
    return [
        None if gold == predicted else WrongAnswer(score, describe(number, gold), describe(number, predicted), score)
        for number, (gold, predicted, score) in answers
    ]
