"""What a task is: it answers (`Task`), it learns (`Learning`), and its answers are scored (`Scoring`).

Whoever uses a task calls its methods in this order:

- A pipeline: `encode`; for each batch `run` and `rows`; for all batches `outputs`, `decode` and `format_output`.
- A training: `head` with the labels of the data, for the config of a new model; `from_inference_task` with the task
  that answers; `on_train_start`, which calls `prepare_labels`; `encode` and `add_labels`. At every step
  `apply_masking`, `divisor`, `run` and `loss`. Then `on_train_end`, and `tune` on dev;
  `inference_task` and `save` give what the model's folder needs.
- An evaluation: `expects` while the data is read, `prepare_labels` where nothing was trained, and `metric`; for each
  part what a pipeline calls up to `outputs`, then `predictions` beside `references`, `reliability`, `named`, and
  `errors`; `plain` to write predictions.

A task of its own is a dataclass made from `TrainableTask`, or from one that already does a part of this:
`bertie.tasks.calibrated_tasks` has those for classes of texts, and for scores with a temperature.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from bertie.errors import InputError, InputTypeError
from bertie.tasks.class_labels import check_loss_options
from bertie.tasks.features import Features, Outputs, Values
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, Loss, operations_on
from bertie.tasks.text_encoder import TextEncoder

if TYPE_CHECKING:  # who only answers needs no metrics
    from torch import nn

    from bertie.metrics import Metric
    from bertie.tasks.calibration import Reliability


@dataclass(frozen=True, kw_only=True)
class Task(TextEncoder, ABC):
    """How a task answers: features of its inputs, what it asks of a model for them, and answers from that."""

    def run(self, model: Model, features: Features) -> Computed:
        """Return what the task needs of the model for one batch, never a rectangle; usually its own head's logits."""
        return model.logits(features)

    def rows(self, output: Computed, features: Features) -> Sequence[object]:
        """Return what is kept of a batch that `run` computed: one value a row of ``features``, on the host."""
        values = operations_on(output).to_host(output)
        return features.by_row(values) if self.works_on_tokens else list(values)

    def combine(self, rows: Sequence[object], features: Features) -> Values:
        """Return one value an input from those of all its rows."""
        if features.owners is not None:
            raise InputError(f"{type(self).__name__} reads no text in windows; cut it, or give it in parts.")
        return rows

    def outputs(self, rows: Sequence[object], features: Features, labels: Sequence[object] = ()) -> Outputs:
        """Return what was computed for inputs, from what `rows` kept of all their rows, beside their labels."""
        return Outputs(self.combine(rows, features), features, labels)

    @abstractmethod
    def decode(self, outputs: Outputs) -> Sequence[object]:
        """Return one answer an input."""

    def format_output(self, answers: list[object], inputs: object, single: bool, named: Sequence[str]) -> object:
        """Return the answers to what the caller gave as they expect them; ``named`` are the options of this call."""
        return answers[0] if single else answers


class Learning(ABC):
    """How a task learns. Losses are sums, so that batches, accumulation and processes can be put together at will."""

    @classmethod
    def head(cls, kind: str | None, labels: Sequence[str]) -> dict[str, object]:
        """Return the config fields of a new head for a kind of classification and these labels, in order."""
        return {}

    def prepare_labels(self, labels: Sequence[object]) -> Self:
        """Return the task with what it must know of the labels to learn from them and be scored by them."""
        return self

    def on_train_start(self, model: "nn.Module", labels: Sequence[object]) -> Self:
        """Return the task as it learns from these labels; a head may be changed to what it needs for that."""
        return self.prepare_labels(labels)

    @abstractmethod
    def add_labels(self, features: Features, labels: Sequence[object]) -> Features:
        """Return the features with what is to be learned of each input."""

    # whether `loss` takes what `rows` keeps of an answer; if not, it takes what `run` computes of labelled features
    loss_of_answers: ClassVar[bool] = True

    def apply_masking(self, features: Features, random: np.random.Generator) -> Features:
        """Return the features of a training batch as this step sees them; tasks that mask words draw them here."""
        return features

    @property
    def divisible(self) -> bool:
        """Whether the losses of a step's parts add up; False if the loss compares the step's inputs with each other."""
        return True

    def divisor(self, features: Features) -> float | Mapping[str, float]:
        """Return how many labelled items `loss` sums over, by name if it is several sums; known on the host."""
        return float(features.num_inputs)

    @abstractmethod
    def loss(self, output: Computed, features: Features) -> Loss:
        """Return the sum ``[]`` of the losses of a batch of whole inputs, from what `run` computed for its rows.

        Several kinds of labels that are learned together have a sum each, ``[K]``: the loss of a step adds up the
        means.
        """

    def on_train_end(self, model: "nn.Module") -> Self:
        """Return the task as it answers once ``model`` has learned; undoes what `on_train_start` did to its head."""
        return self


class Scoring(ABC):
    """How a task's answers are compared with labels, and what is tuned by that."""

    # kind of data → what scores it, as `metric` makes one; the kinds are those of a classification, if any
    metrics: "ClassVar[Mapping[str, type[Metric]]]"

    def expects(self) -> tuple[str | None, list[str] | None]:
        """Return the kind of classification and the labels that labelled data must have; None for what is open."""
        return None, None

    def metric(self) -> "Metric":
        """Return what scores the predictions of this task; by default the only kind there is."""
        (kind,) = self.metrics.values()
        return kind()

    @abstractmethod
    def predictions(self, outputs: Outputs) -> Values:
        """Return what `metric` compares with the labels, one an input."""

    def references(self, labels: Sequence[object]) -> Values:
        """Return labels in the form of `predictions`."""
        return labels

    def reliability(self, outputs: Outputs) -> "Reliability | None":
        """Return how often predictions of each confidence are right; None where there is no confidence."""
        return None

    def errors(self, outputs: Outputs) -> list["WrongAnswer | None"]:
        """Return what is wrong with the answer to each input, None where nothing is."""
        return [None] * len(outputs.labels)

    def named(self, prediction: object) -> str:
        """Return a prediction in words."""
        return str(prediction)

    def signature(self, prediction: object) -> object:
        """Return what a model that tells any inputs apart does not give alike for all of them; None: it may well."""
        return prediction

    def plain(self, prediction: object) -> object:
        """Return a prediction as JSON takes it."""
        return np.asarray(prediction).tolist()

    def tune(self, outputs: Outputs) -> Self:
        """Return the task with the options (temperature, thresholds, …) that suit these inputs best."""
        return self


class WrongAnswer(NamedTuple):
    """A wrong answer: how wrong in comparison to others, both answers in words, and the confidence if there is one."""

    size: float
    expected: str
    given: str
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainableTask(Task, Learning, Scoring):
    """A task that answers, learns and is scored."""

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        check_loss_options(options)

    @classmethod
    def from_inference_task(cls, task: Task) -> Self:
        """Return what learns for a task that answers; most tasks do both."""
        if not isinstance(task, cls):
            raise InputTypeError(f"{cls.__name__} cannot learn for {type(task).__name__}.")
        return task

    def inference_task(self) -> Task:
        """Return the task that answers with what this one learned; most tasks do both."""
        return self

    def save(self, folder: Path) -> None:
        """Write what a model's folder needs for this task beside model and tokenizer."""
