"""Text classification: one label, several labels, or a number for a text or a pair."""

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
    """An answer is ``{"label": str, "score": float}``; with ``top_k`` given, a list of them, best first."""

    # labels to return; None returns all. The empty string, as in the reference, means "not given": only the best label,
    # or with thresholds the list of labels that reach theirs
    top_k: int | str | None = ""
    # turns logits into scores: "sigmoid", "softmax", "none"; None (or "default") follows the config: none for
    # regression, sigmoid for multi-label classification or a single label, else softmax
    function_to_apply: str | None = None
    thresholds: Sequence[float] | None = None  # in multi-label classification, the score from which a label is assigned
    standardization: Standardization = IDENTITY  # of the numbers that a regression learns; set by `on_train_start`
    not_options: ClassVar[tuple[str, ...]] = (*SequenceTask.not_options, "standardization")
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
        # as in the reference, a single str is answered with a list unless ``top_k`` is given
        if isinstance(inputs, str) and "top_k" not in named:
            return answers
        return super().format_output(answers, inputs, single, named)

    def scores(self, values: Values) -> Array:
        """Return the scores of all labels, ``[N, C]``, from logits."""
        logits = np.reshape(np.asarray(values, np.float32), (len(values), -1)) / np.float32(self.temperature)
        return self.score_function(self.standardization.invert(logits))

    @property
    def score_function(self) -> Activation:
        """The function from logits to scores."""
        named = None if self.function_to_apply == "default" else self.function_to_apply
        return self._default_activation if named is None else FUNCTIONS[named]

    @property
    def _default_activation(self) -> Activation:
        return FUNCTIONS[self._default_function]

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
    def _default_function(self) -> str:
        if self.kind == "regression" and self.config.problem_type is not None:
            return "none"
        is_multi_label = self.config.problem_type == "multi_label_classification"
        return "sigmoid" if is_multi_label or self.config.num_labels == 1 else "softmax"

    # labels → loss and metrics

    @property
    def kind(self) -> str:
        """The config's ``problem_type``; without it a single label means regression, several mean single-label."""
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
        found = np.zeros((len(labels), self.config.num_labels), np.float32)
        if self.kind == "regression":
            found[:] = np.asarray(labels, np.float32).reshape(len(labels), -1)
            return found
        for row, names in zip(found, labels, strict=True):
            row[[self.number_of(name) for name in names]] = 1
        return found

    def divisor(self, features: Features) -> float:
        """Return the sum of the texts' class weights, or the number of entries of ``[N, C]`` labels."""
        return self.weight_of(features.targets) if features.targets.ndim == 1 else float(features.targets.size)

    def loss(self, output: Any, features: Features) -> Loss:
        """Return the summed loss of logits ``[R, C]``: cross-entropy, binary cross-entropy, or squared error."""
        from bertie.tasks.summed_losses import binary_sum, cross_entropy_sum, squared_error_sum

        logits, targets = self.combine_logits(output, features), features.targets
        if self.kind == "regression":
            return squared_error_sum(logits, self.standardization.apply(targets))
        loss_sum = cross_entropy_sum if self.kind == "single_label_classification" else binary_sum
        return loss_sum(logits, targets, **self.loss_options)

    def on_train_start(self, model: Any, labels: Sequence[Any]) -> Self:
        # numbers are standardized, and a new classification head starts from the label frequencies
        task = super().on_train_start(model, labels)
        if self.kind == "regression":
            standardization = Standardization.of(labels)
            standardization.apply_to_head(model.classifier)
            return replace(task, standardization=standardization)
        gold = task.references(labels)
        if gold.ndim == 1:
            prior = log_priors(np.bincount(gold, minlength=self.config.num_labels), self.class_weights)
        else:
            prior = log_odds(gold, self.class_weights)
        init_bias(model.classifier, prior)
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
        labels, predictions = self.references(outputs.labels), self.predictions(outputs)
        severities = np.abs(labels - self.scores(outputs.values)).max(axis=1).tolist()
        return [
            WrongAnswer(severity, self.describe(gold), self.describe(predicted)) if (gold != predicted).any() else None
            for severity, gold, predicted in zip(severities, labels, predictions, strict=True)
        ]

    def calibration_set(self, outputs: Outputs) -> CalibrationSet | None:
        if self.kind == "regression" or not len(outputs.labels):
            return None
        return CalibrationSet(outputs.values, self.references(outputs.labels), self._default_function)

    def tune(self, outputs: Outputs) -> Self:
        task, found = super().tune(outputs), self.calibration_set(outputs)
        if found is None or found.kind == "softmax":
            return task
        thresholds = [float(f"{value:.4g}") for value in find_thresholds(task.scores(outputs.values), found.labels)]
        return replace(task, thresholds=thresholds)

    def to_json(self, prediction: Any) -> Any:
        if self.kind == "single_label_classification":
            return self.describe(prediction)
        if self.kind == "regression":
            numbers = np.asarray(prediction).tolist()
            return numbers[0] if len(numbers) == 1 else numbers
        return [self.config.id2label[int(index)] for index in np.flatnonzero(prediction)]

    def describe(self, prediction: Any) -> str:
        if self.kind == "regression":
            return ", ".join(f"{number:.3g}" for number in prediction)
        if self.kind == "single_label_classification":
            return super().describe(prediction)
        return " | ".join(self.to_json(prediction)) or "none"
