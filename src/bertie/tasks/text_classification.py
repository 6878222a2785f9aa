"""Text classification: the label of a text or a pair, several labels, or a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from bertie.engine.activations import Activation, sigmoid
from bertie.errors import InputError
from bertie.metrics import ClassificationMetric, Metric, MultiLabelMetric, RegressionMetric
from bertie.tasks.arrays import Array, softmax
from bertie.tasks.calibrated_tasks import CalibrationSet, SequenceTask
from bertie.tasks.calibration import find_thresholds
from bertie.tasks.class_labels import ClassificationTask
from bertie.tasks.features import Features, Outputs, Values
from bertie.tasks.head_init import IDENTITY, Standardization, init_bias, log_odds, log_priors
from bertie.tasks.operations import Loss
from bertie.tasks.task import WrongAnswer
from bertie.tasks.text_encoder import check_count

FUNCTIONS: dict[str, Activation] = {"sigmoid": sigmoid, "softmax": softmax, "none": np.asarray}


@dataclass(frozen=True, kw_only=True)
class TextClassification(ClassificationTask, SequenceTask):
    """An answer is ``{"label": str, "score": float}``; with ``top_k`` named, a list of them, best first."""

    # labels to give; None gives all. The empty string, as in the reference, is "not named": the best label alone, or
    # with thresholds the list of labels that reach theirs
    top_k: int | str | None = ""
    # what turns logits into scores: "sigmoid", "softmax", "none"; None (or "default") follows the config: nothing for
    # regression, sigmoid for several labels at a time or a single one, else softmax
    function_to_apply: str | None = None
    thresholds: Sequence[float] | None = None  # for several labels at a time, the score at which each label is given
    standardization: Standardization = IDENTITY  # of the numbers a regression learns; set by `on_train_start`
    given: ClassVar[tuple[str, ...]] = (*SequenceTask.given, "standardization")
    saved: ClassVar[tuple[str, ...]] = (*SequenceTask.saved, "thresholds")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **SequenceTask.choices,
        "function_to_apply": ("default", *FUNCTIONS),
    }
    metrics: ClassVar[Mapping[str, type[Metric]]] = {
        "single-label": ClassificationMetric,
        "multi-label": MultiLabelMetric,
        "regression": RegressionMetric,
    }

    def __post_init__(self) -> None:
        if self.top_k not in ("", None):
            check_count("top_k", self.top_k)
        super().__post_init__()
        if self.label_smoothing and self.kind == "regression":
            raise InputError(f"label_smoothing is {self.label_smoothing}, but the labels are numbers; leave it out.")
        self.check_length("thresholds")
        self.check_length("class_weights")

    # text → answer

    def decode(self, outputs: Outputs) -> list[Any]:
        return [self._labels(scores) for scores in self.scores(outputs.values).tolist()]

    def format_output(self, answers: list[Any], inputs: object, single: bool, named: Sequence[str]) -> Any:
        # as in the reference, one str is answered by a list unless ``top_k`` is named
        if isinstance(inputs, str) and "top_k" not in named:
            return answers
        return super().format_output(answers, inputs, single, named)

    def scores(self, values: Values) -> Array:
        """Return the score of every label, ``[N, C]``, from logits."""
        logits = np.reshape(np.asarray(values, np.float32), (len(values), -1)) / np.float32(self.temperature)
        return self.score_function(self.standardization.invert(logits))

    @property
    def score_function(self) -> Activation:
        """What turns logits into scores."""
        named = None if self.function_to_apply == "default" else self.function_to_apply
        return self._usual_activation if named is None else FUNCTIONS[named]

    @property
    def _usual_activation(self) -> Activation:
        return FUNCTIONS[self._usual_function]

    def _labels(self, scores: list[float]) -> Any:
        names = self.config.id2label
        best = sorted(range(len(scores)), key=lambda index: -scores[index])
        if self.top_k == "" and self.thresholds is not None:
            best = [index for index in best if scores[index] >= self.thresholds[index]]
        found = [{"label": names[index], "score": scores[index]} for index in best]
        if self.top_k == "":
            return found[0] if self.thresholds is None else found
        return found if self.top_k is None else found[: int(self.top_k)]

    @property
    def _usual_function(self) -> str:
        if self.kind == "regression" and self.config.problem_type is not None:
            return "none"
        several = self.config.problem_type == "multi_label_classification"
        return "sigmoid" if several or self.config.num_labels == 1 else "softmax"

    # labels → loss and metrics

    @property
    def kind(self) -> str:
        """The config's ``problem_type``; where it says none, one label means a number, several mean one of them."""
        return self.config.problem_type or (
            "regression" if self.config.num_labels == 1 else "single_label_classification"
        )

    @classmethod
    def head(cls, kind: str | None, labels: Sequence[str]) -> dict[str, Any]:
        """As `TrainableTask.head`; the kind is "single-label", "multi-label" or "regression"."""
        if kind == "regression":
            return {"num_labels": 1, "problem_type": "regression"}
        problem = "multi_label_classification" if kind == "multi-label" else "single_label_classification"
        return {"id2label": dict(enumerate(labels)), "problem_type": problem}

    def expects(self) -> tuple[str | None, list[str] | None]:
        kinds = {"regression": "regression", "multi_label_classification": "multi-label"}
        return kinds.get(self.kind, "single-label"), None if self.kind == "regression" else [*self.config.label2id]

    def references(self, labels: Sequence[Any]) -> Array:
        """Return class numbers ``[N]``, or float32 ``[N, C]``: 0 and 1 for several labels, numbers for regression."""
        if self.kind == "single_label_classification":
            return np.array([self.number_of(label) for label in labels], np.int64)
        wanted = np.zeros((len(labels), self.config.num_labels), np.float32)
        if self.kind == "regression":
            wanted[:] = np.asarray(labels, np.float32).reshape(len(labels), -1)
            return wanted
        for row, names in zip(wanted, labels, strict=True):
            row[[self.number_of(name) for name in names]] = 1
        return wanted

    def divisor(self, features: Features) -> float:
        """Return the sum of the texts' class weights, or the number of entries of ``[N, C]`` labels."""
        return self.weight_of(features.wanted) if features.wanted.ndim == 1 else float(features.wanted.size)

    def loss(self, output: Any, features: Features) -> Loss:
        """Return the summed loss of logits ``[R, C]``: cross-entropy, binary cross-entropy, or squared error."""
        from bertie.tasks.summed_losses import binary_sum, cross_entropy_sum, squared_error_sum

        logits, wanted = self.combine_logits(output, features), features.wanted
        if self.kind == "regression":
            return squared_error_sum(logits, self.standardization.apply(wanted))
        learn = cross_entropy_sum if self.kind == "single_label_classification" else binary_sum
        return learn(logits, wanted, **self.loss_options)

    def on_train_start(self, model: Any, labels: Sequence[Any]) -> Self:
        # numbers are learned at mean 0 and deviation 1, labels from their shares
        task = super().on_train_start(model, labels)
        if self.kind == "regression":
            standardization = Standardization.of(labels)
            standardization.apply_to_head(model.classifier)
            return replace(task, standardization=standardization)
        gold = task.references(labels)
        if gold.ndim == 1:
            usual = log_priors(np.bincount(gold, minlength=self.config.num_labels), self.class_weights)
        else:
            usual = log_odds(gold, self.class_weights)
        init_bias(model.classifier, usual)
        return task

    def on_train_end(self, model: Any) -> Self:
        if self.standardization == IDENTITY:
            return self
        self.standardization.invert_in_head(model.classifier)
        return replace(self, standardization=IDENTITY)

    def metric(self) -> Metric:
        names = list(self.config.id2label.values())
        if self.kind == "regression":
            return RegressionMetric()
        return MultiLabelMetric(names) if self.kind == "multi_label_classification" else ClassificationMetric(names)

    def predictions(self, outputs: Outputs) -> Array:
        """Return class numbers ``[N]``, for several labels bool ``[N, C]``, or numbers ``[N, C]``."""
        if self.kind == "single_label_classification":
            return np.asarray(super().predictions(outputs))
        scores = self.scores(outputs.values)
        if self.kind == "regression":
            return scores
        return scores >= np.asarray(0.5 if self.thresholds is None else self.thresholds)

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        if self.kind == "single_label_classification":
            return super().errors(outputs)
        gold, found, scores = self.references(outputs.labels), self.predictions(outputs), self.scores(outputs.values)
        sizes = np.abs(gold - scores).max(axis=1).tolist()
        return [
            WrongAnswer(size, self.named(right), self.named(given)) if (right != given).any() else None
            for size, right, given in zip(sizes, gold, found, strict=True)
        ]

    def calibration_set(self, outputs: Outputs) -> CalibrationSet | None:
        if self.kind == "regression" or not len(outputs.labels):
            return None
        return CalibrationSet(outputs.values, self.references(outputs.labels), self._usual_function)

    def tune(self, outputs: Outputs) -> Self:
        task, found = super().tune(outputs), self.calibration_set(outputs)
        if found is None or found.kind == "softmax":
            return task
        thresholds = [float(f"{value:.4g}") for value in find_thresholds(task.scores(outputs.values), found.labels)]
        return replace(task, thresholds=thresholds)

    def plain(self, prediction: Any) -> Any:
        if self.kind == "single_label_classification":
            return self.named(prediction)
        if self.kind == "regression":
            numbers = np.asarray(prediction).tolist()
            return numbers[0] if len(numbers) == 1 else numbers
        return [self.config.id2label[int(index)] for index in np.flatnonzero(prediction)]

    def named(self, prediction: Any) -> str:
        if self.kind == "regression":
            return ", ".join(f"{number:.3g}" for number in prediction)
        if self.kind == "single_label_classification":
            return super().named(prediction)
        return " | ".join(self.plain(prediction)) or "none"
