"""Masked language modelling: learning to predict masked tokens from their context (BERT, section 3.1, task 1)."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from bertie.metrics import MaskedLMMetric, Metric
from bertie.tasks.arrays import Array
from bertie.tasks.features import LABELS, Features, Outputs, Values
from bertie.tasks.fill_mask import FillMask
from bertie.tasks.masking import Masker, Masking
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, Loss, operations_on
from bertie.tasks.task import Task, TrainableTask


@dataclass(frozen=True, kw_only=True)
class MaskedLM(TrainableTask):
    """The training task of `bertie.tasks.fill_mask.FillMask`. An input is a text; a long one is read in windows.

    In every row, ``share`` of the ordinary tokens (at least one) are to be predicted: 80 % of them are replaced by
    ``[MASK]``, 10 % by a random token, and 10 % are kept. Training draws them anew in every step; for scoring they are
    determined by the row alone, so that metrics are comparable.
    """

    windows: bool = True
    overlap: int | None = 0
    share: float = 0.15  # of the tokens, to predict
    whole_word: bool = False  # True draws whole words; the last one only as far as the number of tokens allows
    label_smoothing: float = 0.0  # the share of each label spread evenly over the vocabulary, in training only
    saved: ClassVar[tuple[str, ...]] = ("max_length",)
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": MaskedLMMetric}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._masker  # noqa: B018 -- refuses bad options early

    @classmethod
    def from_inference_task(cls, task: Task) -> Self:
        return cls(tokenizer=task.tokenizer, config=task.config, max_length=task.max_length)

    def inference_task(self) -> FillMask:
        return FillMask(tokenizer=self.tokenizer, config=self.config, max_length=self.max_length)

    # which tokens to predict

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        return features

    def apply_masking(self, features: Features, random: np.random.Generator) -> Features:
        """Return the features with tokens masked, and the original ids as labels ``[T]``, `IGNORED` elsewhere."""
        return self._mask(features, random.random((3, len(features.ids))))

    def apply_fixed_masking(self, features: Features) -> Features:
        """As `apply_masking`, with draws seeded by each row's tokens."""
        rows = features.by_row(features.ids)
        draws = [np.random.default_rng(zlib.crc32(row.tobytes())).random((3, len(row))) for row in rows]
        return self._mask(features, np.concatenate([np.zeros((3, 0)), *draws], axis=1))

    def divisor(self, features: Features) -> float:
        if LABELS in features.labels:
            return float(len(features.labelled))
        return float(self._masker.counts(features.ids, features.lengths, features.owned).sum())

    def _mask(self, features: Features, draws: Array) -> Features:
        """Mask tokens by uniform random numbers ``[3, T]``."""
        ids, labels = self._masker.mask(features.ids, features.lengths, draws, features.owned)
        return replace(features, ids=ids).with_labels(labels, "token")

    @cached_property
    def _masker(self) -> Masker:
        masking = Masking(self.share, "words" if self.whole_word else "tokens")
        return Masker(masking, self.tokenizer, self.config.vocab_size)

    # what the model predicts

    def run(self, model: Model, features: Features) -> Computed:
        """Return the logits ``[M, V]`` of the M tokens to predict."""
        features = self._masked(features)
        return model.masked_lm(features, features.labelled)

    def loss(self, output: Any, features: Features) -> Loss:
        from bertie.tasks.summed_losses import cross_entropy_sum

        return cross_entropy_sum(output, features.targets[features.labelled], smoothing=self.label_smoothing)

    def rows(self, output: Computed, features: Features) -> Sequence[Array]:
        """Return per row the number of correct tokens, the summed cross-entropy, and the number of tokens predicted."""
        features = self._masked(features)
        scores = operations_on(output).correct_and_loss(output, features.targets[features.labelled])
        scores = np.concatenate([scores, np.ones((len(scores), 1))], axis=1)
        return [part.sum(axis=0) for part in features.at_places(scores, features.labelled)]

    def _masked(self, features: Features) -> Features:
        return features if LABELS in features.labels else self.apply_fixed_masking(features)

    def combine(self, rows: Sequence[Any], features: Features) -> Array:
        """Return the sums over each text's rows, float64 ``[N, 3]``."""
        sums = np.zeros((features.num_inputs, 3))
        np.add.at(sums, features.owner_of_rows, np.reshape(rows, (-1, 3)))
        return sums

    def decode(self, outputs: Outputs) -> list[Any]:
        return list(outputs.values)

    def predictions(self, outputs: Outputs) -> Values:
        return outputs.values

    def describe(self, prediction: Any) -> str:
        return f"{prediction[0]:.0f} of {prediction[2]:.0f} tokens"
