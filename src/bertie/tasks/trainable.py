"""What a task that can be learned adds: labels beside features, a loss that sums, and how answers are scored."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from bertie.errors import InputError, InputTypeError, spelled
from bertie.messages import short
from bertie.metrics.streaming import Metric
from bertie.rules import Rule
from bertie.tasks.calibration import Reliability, check_temperature, confidences, find_temperature, reliability
from bertie.tasks.features import Features, Outputs, Values
from bertie.tasks.task import Task
from bertie.tasks.windows import WAYS, combined

if TYPE_CHECKING:
    from torch import Tensor

# stands where an input has fewer choices than others: finite, and yet without weight at any temperature
NEVER = -1e30
# options of losses
RULES = {
    "focal": Rule("gamma of the focal loss", "number", 0),
    "label_smoothing": Rule("the share of each label that goes to all classes alike", "number", 0, 1),
}


def check_objective(options: Mapping[str, Any]) -> None:
    """Refuse options of the loss that are out of range, or of which one leaves the other undefined."""
    for name, rule in RULES.items():
        if name in options and not rule.allows(options[name]):
            raise InputError(f"{spelled(name)} is {short(options[name])}; allowed: {rule.allowed}.")
    if options.get("focal") and options.get("label_smoothing"):
        both = " and ".join(spelled(name, options[name]) for name in RULES)
        raise InputError(f"{both} exclude each other: the focal loss looks at one right class alone; give one.")


@dataclass(frozen=True, kw_only=True)
class TrainableTask(Task):
    """A task with labels. Losses are sums, so that batches, accumulation and processes can be put together at will.

    A run calls, in this order:

    1. `head` with the labels of the data, for the config of a new model; `from_inference_task` with the task that
       answers; and `on_train_start`, which calls `prepare_labels`.
    2. Once: `encode` and `add_labels`. At every step: `apply_masking`, `divisor`, `run` and `loss`.
    3. `on_train_end`, then `tune` on the rows kept for it; `inference_task` and `save` give what is forwarded.
    4. To score: `prepare_labels` (where nothing was trained), `metric`, and part by part `outputs`, `predictions`
       beside `references`, `reliability`, `signature` and `errors`.

    Attributes:
        metrics: kind of data → what scores it, as `metric` makes one; the kinds are those of a classification, if any.
    """

    metrics: ClassVar[Mapping[str, type[Metric]]]

    # learning

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        check_objective(options)

    @classmethod
    def head(cls, kind: str | None, labels: Sequence[str]) -> dict[str, Any]:
        """Return the config fields of a new head for a kind of classification and these labels, in order."""
        return {}

    def expects(self) -> tuple[str | None, list[str] | None]:
        """Return the kind of classification and the labels that labelled data must have; None for what is open."""
        return None, None

    @classmethod
    def from_inference_task(cls, task: Task) -> Self:
        """Return what learns for a task that answers; most tasks do both."""
        if not isinstance(task, cls):
            raise InputTypeError(f"{cls.__name__} cannot learn for {type(task).__name__}.")
        return task

    def inference_task(self) -> Task:
        """Return the task that answers with what this one learned; most tasks do both."""
        return self

    def prepare_labels(self, labels: Sequence[Any]) -> Self:
        """Return the task with what it must know of the labels to learn from them and be scored by them."""
        return self

    def on_train_start(self, model: Any, labels: Sequence[Any]) -> Self:
        """Return the task as it learns from these labels; a head may be changed to what it needs for that."""
        return self.prepare_labels(labels)

    def on_train_end(self, model: Any) -> Self:
        """Return the task as it answers once ``model`` has learned; undoes what `on_train_start` did to its head."""
        return self

    @property
    def divisible(self) -> bool:
        """Whether the losses of a step's parts add up; False if the loss compares the step's inputs with each other."""
        return True

    @abstractmethod
    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with what is to be learned of each input."""

    def apply_masking(self, features: Features, random: np.random.Generator) -> Features:
        """Return the features of a training batch as this step sees them; tasks that mask words draw them here."""
        return features

    @abstractmethod
    def divisor(self, features: Features) -> float:
        """Return how many labelled items `loss` sums over; known on the host."""

    @abstractmethod
    def loss(self, output: "Tensor", features: Features) -> "Tensor":
        """Return the sum of the losses of a batch of whole inputs, from what `run` computed for its rows."""

    def save(self, folder: Path) -> None:
        """Write what a model's folder needs for this task beside model and tokenizer."""

    # scoring

    @abstractmethod
    def metric(self) -> Metric:
        """Return what scores the predictions of this task."""

    def references(self, labels: Sequence[Any]) -> Values:
        """Return labels in the form of `predictions`."""
        return labels

    @abstractmethod
    def predictions(self, outputs: Outputs) -> Values:
        """Return what `metric` compares with the labels, one an input."""

    def signature(self, prediction: Any) -> Any:
        """Return what a model that tells any inputs apart does not give alike for all of them."""
        return prediction

    def plain(self, prediction: Any) -> Any:
        """Return a prediction as JSON takes it."""
        return np.asarray(prediction).tolist()

    def named(self, prediction: Any) -> str:
        """Return a prediction in words."""
        return str(prediction)

    def errors(self, outputs: Outputs) -> list["WrongAnswer | None"]:
        """Return what is wrong with the answer to each input, None where nothing is."""
        return [None] * len(outputs.labels)

    def tune(self, outputs: Outputs) -> Self:
        """Return the task with the options (temperature, thresholds, …) that suit these inputs best."""
        return self

    def reliability(self, outputs: Outputs) -> Reliability | None:
        """Return how often predictions of each confidence are right; None where there is no confidence."""
        return None


class Judged(NamedTuple):
    """Logits ``[n, C]`` and what is right, as `bertie.tasks.calibration.find_temperature` takes them."""

    logits: Any
    labels: Any
    kind: str = "softmax"


@dataclass(frozen=True, kw_only=True)
class ScoredTask(TrainableTask):
    """A task whose scores are probabilities.

    Args:
        temperature: what logits are divided by before they become scores (Guo et al. 2017).
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        self.check_choices(vars(self))
        check_temperature(self.temperature)

    @abstractmethod
    def judged(self, outputs: Outputs) -> Judged | None:
        """Return what the confidence is measured by; None where there is none."""

    def tune(self, outputs: Outputs) -> Self:
        judged = self.judged(outputs)
        return self if judged is None else replace(self, temperature=round(find_temperature(*judged), 4))

    def reliability(self, outputs: Outputs) -> Reliability | None:
        judged = self.judged(outputs)
        return None if judged is None else reliability(*confidences(*judged, self.temperature))


@dataclass(frozen=True, kw_only=True)
class WindowedTask(ScoredTask):
    """A task with logits ``[R, C]``; those of an input's windows become the input's.

    Args:
        window_scores: how they do: by their ``"mean"`` or ``"max"``.
    """

    window_scores: str = "mean"
    saved: ClassVar[tuple[str, ...]] = (*TrainableTask.saved, "window_scores", "temperature")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"window_scores": WAYS}

    def combine(self, rows: Sequence[Any], features: Features) -> Values:
        """Return the logits ``[N, C]``."""
        return combined(np.stack(rows), features, self.window_scores) if rows else np.zeros((0,), np.float32)


class WrongAnswer(NamedTuple):
    """A wrong answer: how wrong in comparison to others, both answers in words, and the confidence if there is one."""

    size: float
    expected: str
    given: str
    score: float | None = None
