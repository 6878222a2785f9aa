"""The interface of a task: it answers (`Task`), it learns (`Learning`), and its answers are scored (`Scoring`).

Its methods are called in this order:

- by a pipeline: `encode`; for each batch `run` and `rows`; for all batches `outputs`, `decode` and `format_output`;
- by training: `head` with the labels of the data, for the config of a new model; `from_inference_task` with the task
  that answers; `on_train_start`, which calls `prepare_labels`; `encode` and `add_labels`. In every step
  `apply_masking`, `divisor`, `run` and `loss`. Then `on_train_end`, and `tune` on dev; `inference_task` and `save` give
  what the model's folder needs;
- by an evaluation: `expects` while the data is read, `prepare_labels` unless the task was just trained, and `metric`;
  for each chunk what a pipeline calls up to `outputs`, then `predictions`, `references`, `reliability`, `describe` and
  `errors`; `to_json` to write predictions.

A new task is a dataclass derived from `TrainableTask`, or from a class that already does part of this:
`bertie.tasks.calibrated_tasks` has `SequenceTask` for classes of texts, and `CalibratedTask` for other probabilities.
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

if TYPE_CHECKING:  # answering needs no metrics
    from torch import nn

    from bertie.metrics import Metric
    from bertie.tasks.calibration import Reliability


@dataclass(frozen=True, kw_only=True)
class Task(TextEncoder, ABC):
    """How a task answers: features from inputs, the model outputs it needs for them, and answers from those."""

    def run(self, model: Model, features: Features) -> Computed:
        """Return the model outputs that the task needs for one batch, never padded; usually its own head's logits."""
        return model.logits(features)

    def rows(self, output: Computed, features: Features) -> Sequence[object]:
        """Return what is kept of a batch that `run` computed: one value per row of ``features``, on the host."""
        values = operations_on(output).to_host(output)
        return features.by_row(values) if self.works_on_tokens else list(values)

    def combine(self, rows: Sequence[object], features: Features) -> Values:
        """Return one value per input from those of its rows."""
        if features.owners is not None:
            raise InputError(f"{type(self).__name__} cannot read a text in windows; cut it, or give it in parts.")
        return rows

    def outputs(self, rows: Sequence[object], features: Features, labels: Sequence[object] = ()) -> Outputs:
        """Return the outputs of inputs, from what `rows` kept of all their rows, with their labels."""
        return Outputs(self.combine(rows, features), features, labels)

    @abstractmethod
    def decode(self, outputs: Outputs) -> Sequence[object]:
        """Return one answer per input."""

    def format_output(self, answers: list[object], inputs: object, single: bool, named: Sequence[str]) -> object:
        """Return answers in the form that the caller of ``inputs`` expects; ``named`` are the options of the call."""
        return answers[0] if single else answers


class Learning(ABC):
    """How a task learns. Losses are sums, so that batches can be split, accumulated and distributed at will."""

    @classmethod
    def head(cls, kind: str | None, labels: Sequence[str]) -> dict[str, object]:
        """Return the config fields of a new head for a kind of classification with these labels, in order."""
        return {}

    def prepare_labels(self, labels: Sequence[object]) -> Self:
        """Return the task with what it must know about the labels to learn from them and be scored by them."""
        return self

    def on_train_start(self, model: "nn.Module", labels: Sequence[object]) -> Self:
        """Return the task configured to learn these labels; it may initialize or rescale the model's head."""
        return self.prepare_labels(labels)

    @abstractmethod
    def add_labels(self, features: Features, labels: Sequence[object]) -> Features:
        """Return the features with the labels to learn."""

    # whether `loss` takes what `rows` keeps at inference; if not, it needs what `run` computes for labelled features
    loss_of_answers: ClassVar[bool] = True

    def apply_masking(self, features: Features, random: np.random.Generator) -> Features:
        """Return the features of a batch as this step sees them; masked language modelling draws its masks here."""
        return features

    @property
    def divisible(self) -> bool:
        """Whether a step's batch may be split, the losses adding up; False if the loss contrasts its inputs."""
        return True

    def divisor(self, features: Features) -> float | Mapping[str, float]:
        """Return how many labelled items `loss` sums over, by name if there are several sums; known on the host."""
        return float(features.num_inputs)

    @abstractmethod
    def loss(self, output: Computed, features: Features) -> Loss:
        """Return the loss ``[]`` of a batch of whole inputs, summed, from what `run` computed for its rows.

        Several kinds of labels learned together have one sum each, ``[K]``: the loss of a step is the sum of their
        means.
        """

    def on_train_end(self, model: "nn.Module") -> Self:
        """Return the task configured to answer with the trained ``model``, undoing what `on_train_start` did."""
        return self


class Scoring(ABC):
    """How a task's answers are scored against labels, and what is tuned by that."""

    # kind of data (of classification, if there are several) → the class of what `metric` returns
    metrics: "ClassVar[Mapping[str, type[Metric]]]"

    def expects(self) -> tuple[str | None, list[str] | None]:
        """Return the kind of classification and the labels that the data must have; None: any."""
        return None, None

    def metric(self) -> "Metric":
        """Return the metric for the predictions of this task; by default the only one in `metrics`."""
        (kind,) = self.metrics.values()
        return kind()

    @abstractmethod
    def predictions(self, outputs: Outputs) -> Values:
        """Return what `metric` compares with the labels, one per input."""

    def references(self, labels: Sequence[object]) -> Values:
        """Return labels in the form of `predictions`."""
        return labels

    def reliability(self, outputs: Outputs) -> "Reliability | None":
        """Return how often predictions of each confidence are right; None if answers have no confidence."""
        return None

    def errors(self, outputs: Outputs) -> list["WrongAnswer | None"]:
        """Return one `WrongAnswer` per input, None for a correct answer."""
        return [None] * len(outputs.labels)

    def describe(self, prediction: object) -> str:
        """Return a prediction as readable text."""
        return str(prediction)

    def signature(self, prediction: object) -> object:
        """Return a value that is equal for all inputs only if the model cannot tell them apart; None: no such sign."""
        return prediction

    def to_json(self, prediction: object) -> object:
        """Return a prediction as JSON."""
        return np.asarray(prediction).tolist()

    def tune(self, outputs: Outputs) -> Self:
        """Return the task with the options (temperature, thresholds, …) that suit these inputs best."""
        return self


class WrongAnswer(NamedTuple):
    """A wrong answer: how bad it is, to rank it among others, both answers as text, and the confidence if any."""

    severity: float
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
        """Return the task that learns for a task that answers; most tasks do both."""
        if not isinstance(task, cls):
            raise InputTypeError(f"{cls.__name__} cannot learn for {type(task).__name__}.")
        return task

    def inference_task(self) -> Task:
        """Return the task that answers with what this one learned; most tasks do both."""
        return self

    def save(self, folder: Path) -> None:
        """Write the files that this task needs beside model and tokenizer."""
