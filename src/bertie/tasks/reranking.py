"""Reranking: how well a passage answers a query, scored by a cross-encoder, a pair classifier with one label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from bertie.engine.activations import Activation
from bertie.errors import InputError, spelled
from bertie.metrics import Metric, RerankingMetric
from bertie.tasks.arrays import Array
from bertie.tasks.calibrated_tasks import CalibratedTask, CalibrationSet
from bertie.tasks.features import Features, Outputs, Values
from bertie.tasks.sentence_transformers_config import SETTINGS
from bertie.tasks.task import Task, WrongAnswer
from bertie.tasks.text_classification import TextClassification
from bertie.tasks.vector_layers import ACTIVATIONS, activation_name

# a pair's query and its score
QueryScore = tuple[str, float]
_KIND = "multi_label_classification"
_OLD_KEY = "sbert_ce_default_activation_function"


@dataclass(frozen=True, kw_only=True)
class Reranking(TextClassification):
    """An answer to a pair (query, passage) is ``{"score": float}``.

    ``function_to_apply`` turns a logit into a score: ``"sigmoid"`` or ``"none"``; None applies the activation that the
    model's sentence-transformers files name, else sigmoid.
    """

    top_k: int | str | None = None  # passages per query that the pipeline returns, best first; None returns all
    window_scores: str = "max"  # how the logits of a passage's windows are combined: "max" or "mean"
    highest: float = 1.0  # the highest relevance, which divides labels
    activation: str | None = None  # the class that the folder's files name for ``function_to_apply``; None: see config
    not_options: ClassVar[tuple[str, ...]] = (*TextClassification.not_options, "activation")
    saved: ClassVar[tuple[str, ...]] = (*Task.saved, "window_scores", "temperature", "highest")
    pair: ClassVar[str] = "(query, passage)"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("query", "passage"), ("text", "text_pair"))
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": RerankingMetric}

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._default_activation  # refuses an unknown activation before anything is computed
        if self.config.num_labels != 1:
            raise InputError(
                f"The model has {self.config.num_labels} labels; a reranker has one (num_labels=1). Use a "
                "cross-encoder, or fine-tune this model as one."
            )

    # pairs → scores

    def decode(self, outputs: Outputs) -> list[dict[str, float]]:
        return [{"score": score} for score in self.scores(outputs.values)[:, 0].tolist()]

    def format_output(self, answers: list[Any], inputs: object, single: bool, named: Sequence[str]) -> Any:
        return Task.format_output(self, answers, inputs, single, named)

    @cached_property
    def _default_activation(self) -> Activation:
        """The activation that the model's files name, in any version of sentence-transformers, else the sigmoid."""
        return ACTIVATIONS[stated_activation(self.activation, self.config) or "Sigmoid"]

    # relevance → loss and metrics

    @property
    def kind(self) -> str:
        return _KIND

    @classmethod
    def head(cls, kind: str | None, labels: Sequence[str]) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": _KIND}

    def expects(self) -> tuple[str | None, list[str] | None]:
        return None, None

    def prepare_labels(self, labels: Sequence[Any]) -> Self:
        # labels above 1 are scaled to at most 1 by the highest in the training data
        highest = max((float(label) for label in labels), default=1.0)
        return replace(self, highest=highest) if highest > self.highest else self

    def references(self, labels: Sequence[Any]) -> Array:
        """Return the relevance as a share of the highest, float32 ``[N, 1]``."""
        found = np.asarray(labels, np.float32).reshape(-1, 1) / np.float32(self.highest)
        if (found < 0).any():
            raise InputError(f"A relevance is {found.min() * self.highest:g}; the lowest is 0 (not relevant).")
        return found

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        gold = self.references(labels)
        if (gold > 1).any():
            raise InputError(
                f"A relevance is {gold.max() * self.highest:g}, but the highest is {self.highest:g}; give "
                f"{spelled('highest', float(gold.max() * self.highest))}."
            )
        return features.with_labels(gold)

    def metric(self) -> Metric:
        return RerankingMetric()

    def predictions(self, outputs: Outputs) -> list[QueryScore]:  # type: ignore[override]
        """Return each pair's query, and its score from 0 to 1."""
        assert outputs.features.texts is not None
        queries = (query for query, _ in outputs.features.texts)
        return list(zip(queries, self._probabilities(outputs.values).tolist(), strict=True))

    def to_json(self, prediction: Any) -> Any:
        return prediction[1]

    def describe(self, prediction: Any) -> str:
        return f"{prediction[1]:.3g}"

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        found: list[WrongAnswer | None] = []
        golds = self.references(outputs.labels)[:, 0].tolist()
        for gold, score in zip(golds, self._probabilities(outputs.values).tolist(), strict=True):
            wrong = (gold >= 0.5) != (score >= 0.5)
            found.append(WrongAnswer(abs(gold - score), f"{gold:.3g}", f"{score:.3g}", score) if wrong else None)
        return found

    def calibration_set(self, outputs: Outputs) -> CalibrationSet | None:
        gold = self.references(outputs.labels)
        return CalibrationSet(outputs.values, gold, "sigmoid") if len(gold) and np.isin(gold, (0, 1)).all() else None

    def tune(self, outputs: Outputs) -> Self:
        # no thresholds: passages are ranked and never left out
        return CalibratedTask.tune(self, outputs)

    def _probabilities(self, values: Values) -> Array:
        """Return the scores from 0 to 1, ``[N]``, whatever activation answers use."""
        return replace(self, function_to_apply="sigmoid").scores(values)[:, 0]


def stated_activation(named: str | None, config: Any) -> str | None:
    """Return which of `ACTIVATIONS` a cross-encoder's folder (``named``) or else its config names; None: neither."""
    where = SETTINGS
    stated = getattr(config, "sentence_transformers", None)
    for key, value in (
        ("sentence_transformers", stated.get("activation_fn") if isinstance(stated, Mapping) else stated),
        (_OLD_KEY, getattr(config, _OLD_KEY, None)),
    ):
        if named is None and value is not None:
            named, where = value, f"the config's key {key!r}"
    return None if named is None else activation_name(named, where)
