"""Masked words: learning to guess hidden words from what stands around them (BERT, section 3.1, task 1)."""

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
    """What learns for `bertie.tasks.fill_mask.FillMask`. An input is a text; a long one is read in windows.

    Of every row, ``share`` of the ordinary tokens (one at least) are to be guessed: 80 % of them are hidden behind
    ``[MASK]``, 10 % are replaced by another token, and 10 % stay. Training draws them anew at every step; where the
    model is scored, they follow from the row alone, so that metrics can be compared.
    """

    windows: bool = True
    overlap: int | None = 0
    share: float = 0.15  # of the tokens to guess
    whole_word: bool = False  # True draws words, all their pieces at a time; the last one as far as the number allows
    label_smoothing: float = 0.0  # the share of each token that is learned as any token alike; metrics go without
    saved: ClassVar[tuple[str, ...]] = ("max_length",)
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": MaskedLMMetric}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._masker  # noqa: B018 -- what it refuses is refused here

    @classmethod
    def from_inference_task(cls, task: Task) -> Self:
        return cls(tokenizer=task.tokenizer, config=task.config, max_length=task.max_length)

    def inference_task(self) -> FillMask:
        return FillMask(tokenizer=self.tokenizer, config=self.config, max_length=self.max_length)

    # which tokens are to be guessed

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        return features

    def apply_masking(self, features: Features, random: np.random.Generator) -> Features:
        """Return the features with tokens hidden, and what they were as labels ``[T]``; others' are `IGNORED`."""
        return self._hidden(features, random.random((3, len(features.ids))))

    def fixed(self, features: Features) -> Features:
        """As `apply_masking`, with draws that follow from each row's own tokens."""
        rows = features.by_row(features.ids)
        draws = [np.random.default_rng(zlib.crc32(row.tobytes())).random((3, len(row))) for row in rows]
        return self._hidden(features, np.concatenate([np.zeros((3, 0)), *draws], axis=1))

    def divisor(self, features: Features) -> float:
        if LABELS in features.labels:
            return float(len(features.labelled))
        return float(self._masker.counts(features.ids, features.lengths, features.owned).sum())

    def _hidden(self, features: Features, draws: Array) -> Features:
        """Hide tokens by uniform numbers ``[3, T]``."""
        ids, labels = self._masker.mask(features.ids, features.lengths, draws, features.owned)
        return replace(features, ids=ids).with_labels(labels, "token")

    @cached_property
    def _masker(self) -> Masker:
        masking = Masking(self.share, "words" if self.whole_word else "tokens")
        return Masker(masking, self.tokenizer, self.config.vocab_size)

    # what the model guesses

    def run(self, model: Model, features: Features) -> Computed:
        """Return the logits ``[M, V]`` of the M tokens to guess."""
        features = self._settled(features)
        return model.masked_lm(features, features.labelled)

    def loss(self, output: Any, features: Features) -> Loss:
        from bertie.tasks.summed_losses import cross_entropy_sum

        return cross_entropy_sum(output, features.wanted[features.labelled], smoothing=self.label_smoothing)

    def rows(self, output: Computed, features: Features) -> Sequence[Array]:
        """Return for each row its guesses: how many are right, their summed cross-entropy, and how many there are."""
        features = self._settled(features)
        each = operations_on(output).guessed(output, features.wanted[features.labelled])
        each = np.concatenate([each, np.ones((len(each), 1))], axis=1)
        return [part.sum(axis=0) for part in features.at_places(each, features.labelled)]

    def _settled(self, features: Features) -> Features:
        return features if LABELS in features.labels else self.fixed(features)

    def combine(self, rows: Sequence[Any], features: Features) -> Array:
        """Return the sums of each text's rows, float64 ``[N, 3]``."""
        sums = np.zeros((features.num_inputs, 3))
        np.add.at(sums, features.owner_of_rows, np.reshape(rows, (-1, 3)))
        return sums

    def decode(self, outputs: Outputs) -> list[Any]:
        return list(outputs.values)

    def predictions(self, outputs: Outputs) -> Values:
        return outputs.values

    def named(self, prediction: Any) -> str:
        return f"{prediction[0]:.0f} of {prediction[2]:.0f} tokens"
