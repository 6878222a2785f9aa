"""What a task that can be learned adds: labels beside features, a loss that sums, and how answers are scored."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from torch import Tensor

from bertie.errors import InputTypeError
from bertie.metrics.streaming import Metric
from bertie.tasks.calibration import Reliability
from bertie.tasks.features import Features, Values
from bertie.tasks.objectives import check_objective
from bertie.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class TrainableTask(Task):
    """A task with labels. Losses are sums, so that batches, accumulation and processes can be put together at will.

    Attributes:
        metrics: kind of data → what scores it, as `metric` makes one; the kinds are those of a classification, if any.
    """

    metrics: ClassVar[Mapping[str, type[Metric]]]

    # learning

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """As `Task.check_options`; those of the loss are checked too."""
        super().check_options(options)
        check_objective(options)

    @classmethod
    def head(cls, kind: str | None, labels: Sequence[str]) -> dict[str, Any]:
        """Return the config fields of a new head for a kind of classification and these labels, in order."""
        del kind, labels
        return {}

    def expects(self) -> tuple[str | None, list[str] | None]:
        """Return the kind of classification and the labels that labelled data must have; None for what is open."""
        return None, None

    @classmethod
    def of(cls, task: Task) -> Self:
        """Return what learns for a task that answers; most tasks do both.

        Raises:
            InputTypeError: it is another task.
        """
        if not isinstance(task, cls):
            raise InputTypeError(f"{cls.__name__} cannot learn for {type(task).__name__}.")
        return task

    def answering(self) -> Task:
        """Return the task that answers with what this one learned; most tasks do both."""
        return self

    def suited(self, labels: Sequence[Any]) -> Self:
        """Return the task with what it must know of the labels to learn from them and be scored by them."""
        del labels
        return self

    def begun(self, model: Any, labels: Sequence[Any]) -> Self:
        """Return the task as it learns from these labels; a head may be changed to what it needs for that."""
        del model
        return self.suited(labels)

    def ended(self, model: Any) -> Self:
        """Return the task as it answers once ``model`` has learned; undoes what `begun` did to its head."""
        del model
        return self

    @property
    def divisible(self) -> bool:
        """Whether the losses of a step's parts add up; False if the loss compares the step's inputs with each other."""
        return True

    @abstractmethod
    def labelled(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with what is to be learned of each input.

        Raises:
            InputError: a label that the model does not have.
        """

    def drawn(self, features: Features, random: np.random.Generator) -> Features:
        """Return the features of a training batch as this step sees them; tasks that mask words draw them here."""
        del random
        return features

    @abstractmethod
    def divisor(self, features: Features) -> float:
        """Return how many labelled items `loss` sums over; known on the host."""

    @abstractmethod
    def loss(self, output: Tensor, features: Features) -> Tensor:
        """Return the sum of the losses of a batch of whole inputs, from what `run` computed for its rows."""

    def save(self, folder: Path) -> None:
        """Write what a model's folder needs for this task beside model and tokenizer."""
        del folder

    # scoring

    @abstractmethod
    def metric(self) -> Metric:
        """Return what scores the predictions of this task."""

    def gold(self, labels: Sequence[Any]) -> Values:
        """Return labels in the form of `predictions`."""
        return labels

    @abstractmethod
    def predictions(self, values: Values, features: Features) -> Values:
        """Return, from what `combine` gave, what `metric` compares with the labels, one an input."""

    def gist(self, prediction: Any) -> Any:
        """Return what must differ between some inputs: a model whose predictions all have one gist tells none apart."""
        return prediction

    def plain(self, prediction: Any) -> Any:
        """Return a prediction as JSON takes it."""
        return np.asarray(prediction).tolist()

    def named(self, prediction: Any) -> str:
        """Return a prediction in words."""
        return str(prediction)

    def faults(self, values: Values, features: Features, labels: Sequence[Any]) -> list["Fault | None"]:
        """Return what is wrong with the answer to each input, None where nothing is."""
        del values, features
        return [None] * len(labels)

    def tuned(self, values: Values, features: Features, labels: Sequence[Any]) -> Self:
        """Return the task with the options (temperature, thresholds, …) that suit these inputs best."""
        del values, features, labels
        return self

    def reliability(self, values: Values, features: Features, labels: Sequence[Any]) -> Reliability | None:
        """Return how often predictions of each confidence are right; None where there is no confidence."""
        del values, features, labels
        return None


class Fault(NamedTuple):
    """A wrong answer: how wrong in comparison to others, both answers in words, and the confidence if there is one."""

    size: float
    expected: str
    given: str
    score: float | None = None
