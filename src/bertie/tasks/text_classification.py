"""Text classification: the label of a text or a pair, several labels, or a number."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from bertie.errors import InputError, nearest
from bertie.metrics import ClassificationMetric, Metric, MultiLabelMetric, RegressionMetric
from bertie.packing import Packed
from bertie.tasks.calibration import Reliability, check_temperature, confidences, find_temperature, reliability
from bertie.tasks.combining import WAYS, combined, combined_logits
from bertie.tasks.features import Array, Features, Values
from bertie.tasks.heads import OWN, Unit, begin_at, logits_of_classes, logits_of_labels
from bertie.tasks.objectives import binary_sum, cross_entropy_sum
from bertie.tasks.task import check_count
from bertie.tasks.thresholds import find_thresholds
from bertie.tasks.trainable import Fault, TrainableTask

FUNCTIONS: dict[str, nn.Module] = {"sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(dim=-1), "none": nn.Identity()}


@dataclass(frozen=True, kw_only=True)
class TextClassification(TrainableTask):
    """An answer is ``{"label": str, "score": float}``; with ``top_k`` named, a list of them, best first.

    Args:
        top_k: how many labels to give; None gives all. The empty string, as in the reference, is "not named": the
            best label alone, or with ``thresholds`` the list of labels that reach theirs.
        function_to_apply: what turns logits into scores: ``"sigmoid"``, ``"softmax"``, ``"none"``; None (or
            ``"default"``) follows the config: nothing for regression, sigmoid for several labels at a time or a
            single one, else softmax.
        window_scores: how the logits of a text's windows become the text's: ``"mean"`` or ``"max"``.
        temperature: what logits are divided by before they become scores (Guo et al. 2017).
        thresholds: for several labels at a time, the score at which each of the config's labels is given.
        class_weights: what a text of each class counts in the loss; None: 1.
        focal: gamma of the focal loss; 0 is the plain loss.
        label_smoothing: the share of each label that is learned as any class alike; figures take labels as they are.
        unit: in which a model that is being trained answers numbers; set by `begun`.
    """

    top_k: int | str | None = ""
    function_to_apply: str | None = None
    window_scores: str = "mean"
    temperature: float = 1.0
    thresholds: Sequence[float] | None = None
    class_weights: Sequence[float] | None = None
    focal: float = 0.0
    label_smoothing: float = 0.0
    unit: Unit = OWN
    given: ClassVar[tuple[str, ...]] = (*TrainableTask.given, "unit")
    saved: ClassVar[tuple[str, ...]] = (*TrainableTask.saved, "window_scores", "temperature", "thresholds")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "window_scores": WAYS,
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
        self.check_choices(vars(self))
        check_temperature(self.temperature)
        if self.label_smoothing and self.kind == "regression":
            raise InputError(f"label_smoothing is {self.label_smoothing}, but the labels are numbers; leave it out.")
        for name in ("thresholds", "class_weights"):
            values = getattr(self, name)
            if values is not None and len(values) != self.config.num_labels:
                raise InputError(
                    f"{name} has {len(values)} entries, but the model has {self.config.num_labels} labels."
                )

    # text → answer

    def run(self, model: Any, packed: Packed, features: Features) -> Tensor:
        """Return the logits ``[R, C]``."""
        del features
        logits: Tensor = model(packed, return_dict=True).logits
        return logits

    def combine(self, rows: Sequence[Any], features: Features) -> Array:
        """Return the logits ``[N, C]``."""
        return combined(rows, features, self.window_scores)

    def decode(self, values: Values, features: Features) -> list[Any]:
        """Return the labels of each text with their scores."""
        del features
        return [self._labels(scores) for scores in self.scores(values).tolist()]

    def laid_out(self, answers: list[Any], inputs: Any, single: bool, named: Sequence[str]) -> Any:
        """As `Task.laid_out`; as in the reference, one str is answered by a list unless ``top_k`` is named."""
        if isinstance(inputs, str) and "top_k" not in named:
            return answers
        return super().laid_out(answers, inputs, single, named)

    def scores(self, values: Values) -> Array:
        """Return the score of every label, ``[N, C]``, from logits."""
        logits = torch.as_tensor(np.asarray(values, np.float32)).reshape(len(values), -1) / self.temperature
        logits = self.unit.left(logits)
        named = None if self.function_to_apply == "default" else self.function_to_apply
        scores: Tensor = (self._usual_activation if named is None else FUNCTIONS[named])(logits)
        return scores.numpy()

    @property
    def _usual_activation(self) -> nn.Module:
        return FUNCTIONS[self._usual_function()]

    def _labels(self, scores: list[float]) -> Any:
        names = self.config.id2label
        best = sorted(range(len(scores)), key=lambda index: -scores[index])
        if self.top_k == "" and self.thresholds is not None:
            best = [index for index in best if scores[index] >= self.thresholds[index]]
        found = [{"label": names[index], "score": scores[index]} for index in best]
        if self.top_k == "":
            return found[0] if self.thresholds is None else found
        return found if self.top_k is None else found[: int(self.top_k)]

    def _usual_function(self) -> str:
        if self.kind == "regression" and self.config.problem_type is not None:
            return "none"
        several = self.config.problem_type == "multi_label_classification"
        return "sigmoid" if several or self.config.num_labels == 1 else "softmax"

    # labels → loss and figures

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
        """As `TrainableTask.expects`."""
        kinds = {"regression": "regression", "multi_label_classification": "multi-label"}
        return kinds.get(self.kind, "single-label"), None if self.kind == "regression" else [*self.config.label2id]

    def gold(self, labels: Sequence[Any]) -> Array:
        """Return class numbers ``[N]``, or float32 ``[N, C]``: 0 and 1 for several labels, numbers for regression.

        Raises:
            InputError: a name that is none of the config's labels.
        """
        if self.kind == "single_label_classification":
            return np.array([self._number(label) for label in labels], np.int64)
        wanted = np.zeros((len(labels), self.config.num_labels), np.float32)
        if self.kind == "regression":
            wanted[:] = np.asarray(labels, np.float32).reshape(len(labels), -1)
            return wanted
        for row, names in zip(wanted, labels, strict=True):
            row[[self._number(name) for name in names]] = 1
        return wanted

    def labelled(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with labels as `gold` has them."""
        return features.with_labels(self.gold(labels))

    def divisor(self, features: Features) -> float:
        """Return the sum of the texts' class weights, or the number of entries of ``[N, C]`` labels."""
        assert features.labels is not None
        wanted = features.labels.values
        if wanted.ndim == 1 and self.class_weights is not None:
            return float(np.asarray(self.class_weights)[wanted].sum())
        return float(wanted.size)

    def loss(self, output: Tensor, features: Features) -> Tensor:
        """Return the summed loss of logits ``[R, C]``: cross-entropy, binary cross-entropy, or squared error."""
        assert features.labels is not None
        logits = combined_logits(output, features, self.window_scores)
        wanted = torch.from_numpy(features.labels.values).to(logits.device)
        weights = None if self.class_weights is None else torch.tensor(self.class_weights, device=logits.device)
        if self.kind == "single_label_classification":
            return cross_entropy_sum(logits, wanted, weights, self.focal, self.label_smoothing)
        if self.kind == "multi_label_classification":
            return binary_sum(logits, wanted, weights, self.focal, self.label_smoothing)
        return torch.nn.functional.mse_loss(logits.float(), self.unit.entered(wanted), reduction="sum")

    def begun(self, model: Any, labels: Sequence[Any]) -> Self:
        """As `TrainableTask.begun`; numbers are learned at mean 0 and deviation 1, labels from their shares."""
        task = super().begun(model, labels)
        if self.kind == "regression":
            unit = Unit.of(labels)
            unit.enter(model.classifier)
            return dataclasses.replace(task, unit=unit)
        gold = task.gold(labels)
        if gold.ndim == 1:
            usual = logits_of_classes(np.bincount(gold, minlength=self.config.num_labels), self.class_weights)
        else:
            usual = logits_of_labels(gold, self.class_weights)
        begin_at(model.classifier, usual)
        return task

    def ended(self, model: Any) -> Self:
        """As `TrainableTask.ended`; the head answers numbers in their own unit."""
        if self.unit == OWN:
            return self
        self.unit.leave(model.classifier)
        return dataclasses.replace(self, unit=OWN)

    def metric(self) -> Metric:
        """Return accuracy and F1, the same for several labels, or correlations."""
        names = list(self.config.id2label.values())
        if self.kind == "regression":
            return RegressionMetric()
        return MultiLabelMetric(names) if self.kind == "multi_label_classification" else ClassificationMetric(names)

    def predictions(self, values: Values, features: Features) -> Array:
        """Return class numbers ``[N]``, for several labels bool ``[N, C]``, or numbers ``[N, C]``."""
        del features
        if self.kind == "single_label_classification":
            return np.asarray(values).argmax(axis=-1)
        scores = self.scores(values)
        if self.kind == "regression":
            return scores
        return scores >= np.asarray(0.5 if self.thresholds is None else self.thresholds)

    def faults(self, values: Values, features: Features, labels: Sequence[Any]) -> list[Fault | None]:
        """Return wrong labels, the surest first to be looked at, or numbers that are off."""
        gold, found = self.gold(labels), self.predictions(values, features)
        wrong = (gold != found) if gold.ndim == 1 else (gold != found).any(axis=1)
        if self.kind == "single_label_classification":
            sizes = self.scores(values)[np.arange(len(gold)), found]
        else:
            sizes = np.abs(gold - self.scores(values)).max(axis=1)
        sure = self.kind == "single_label_classification"
        return [
            Fault(size, self.named(gold[at]), self.named(found[at]), size if sure else None) if wrong[at] else None
            for at, size in enumerate(sizes.tolist())
        ]

    def tuned(self, values: Values, features: Features, labels: Sequence[Any]) -> Self:
        """Return the task with the likeliest temperature, and for several labels with the thresholds of the best F1."""
        del features
        if self.kind == "regression" or not len(labels):
            return self
        gold, kind = self.gold(labels), self._usual_function()
        task = dataclasses.replace(self, temperature=round(find_temperature(values, gold, kind), 4))
        if kind == "softmax":
            return task
        thresholds = [float(f"{value:.4g}") for value in find_thresholds(task.scores(values), gold)]
        return dataclasses.replace(task, thresholds=thresholds)

    def reliability(self, values: Values, features: Features, labels: Sequence[Any]) -> Reliability | None:
        """Return how often predictions of each confidence are right; None for regression."""
        del features
        if self.kind == "regression":
            return None
        gold, kind = self.gold(labels), self._usual_function()
        return reliability(*confidences(values, gold, kind, self.temperature))

    def plain(self, prediction: Any) -> Any:
        """Return the label, a list of them, or a number (several in a list)."""
        if self.kind == "single_label_classification":
            return self.named(prediction)
        if self.kind == "regression":
            numbers = np.asarray(prediction).tolist()
            return numbers[0] if len(numbers) == 1 else numbers
        return [self.config.id2label[int(index)] for index in np.flatnonzero(prediction)]

    def named(self, prediction: Any) -> str:
        """Return a prediction, or a label in its form, in words."""
        names = self.config.id2label
        if self.kind == "regression":
            return ", ".join(f"{number:.3g}" for number in prediction)
        if self.kind == "single_label_classification":
            return names[int(prediction)]
        return " | ".join(names[int(index)] for index in np.flatnonzero(prediction)) or "none"

    def _number(self, label: Any) -> int:
        number = self.config.label2id.get(str(label))
        if number is None:
            raise InputError(
                f"The label {label!r:.60} is none of the model's {self.config.num_labels} labels "
                f"({', '.join(map(repr, list(self.config.label2id)[:8]))}).{nearest(str(label), self.config.label2id)}"
            )
        return number
