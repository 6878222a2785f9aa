"""Sequence to sequence: a target text for each source, such as a summary, as two BERTs write it (arXiv 1907.12461)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np

from bertie.errors import InputTypeError, nearest
from bertie.metrics import Metric, TextOverlapMetric
from bertie.tasks.arrays import Integers
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model, Seq2SeqModel
from bertie.tasks.operations import Computed
from bertie.tasks.task import Task, TrainableTask, WrongAnswer
from bertie.tasks.text_encoder import check_count

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Seq2Seq(TrainableTask):
    """An answer is the text that the model writes for a source.

    A label holds the right targets; the first is learned, as the decoder's words from its start token to the end token.

    Args:
        max_target_length: tokens of a target, start and end included; None: of those to learn from as many as the
            decoder allows, and of those it writes afterwards as many as the longest of them has.
        generation: fields of a `bertie.GenerationConfig` by which targets are written; those a model is trained with
            are saved with it.
        label_smoothing: the share of each word that is learned as any word alike (Szegedy et al. 2016, section 7).
    """

    max_target_length: int | None = None
    generation: Mapping[str, Any] | None = None
    label_smoothing: float = 0.0
    given: ClassVar[tuple[str, ...]] = (*Task.given, "windows", "overlap")
    saved: ClassVar[tuple[str, ...]] = ("max_length",)
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": TextOverlapMetric}
    loss_of_answers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_target_length is not None:
            check_count("max_target_length", self.max_target_length, self.target_limit)
        if not isinstance(self.generation, Mapping | None):
            raise InputTypeError(f"generation is {self.generation!r:.60}; give a mapping, such as {{'num_beams': 4}}.")

    @property
    def target_limit(self) -> int:
        """The most tokens that a target may have."""
        most: int = self.config.get_text_config(decoder=True).max_position_embeddings
        return min(self.tokenizer.model_max_length, most)

    # sources → targets

    def run(self, model: Model, features: Features) -> Computed:
        """Return the targets written for sources ``[R, S]``; beside targets the logits ``[M, V]`` of their M words."""
        writer = cast("Seq2SeqModel", model)
        if features.parts is None:
            return writer.generate(features, self.generation or {})
        targets = _part(features, 1)
        read = np.delete(targets.ids, _lasts(targets))
        shorter = replace(targets, ids=read, types=None, lengths=[length - 1 for length in targets.lengths])
        return writer.target_logits(_part(features, 0), shorter)

    def rows(self, output: Any, features: Features) -> Sequence[Integers]:
        return list(output)

    def decode(self, outputs: Outputs) -> list[str]:
        return [self.tokenizer.decode(ids.tolist(), skip_special_tokens=True) for ids in outputs.values]

    # targets → loss

    def on_train_start(self, model: "nn.Module", labels: Sequence[Any]) -> Self:
        """Return the task, and have the model write targets as long as those to learn from, and as options say."""
        tokens = self.tokenizer
        settled: Any = model
        named = {
            "decoder_start_token_id": tokens.cls_token_id,
            "eos_token_id": tokens.sep_token_id,
            "pad_token_id": tokens.pad_token_id,
        }
        for name, token in named.items():
            if getattr(settled.config, name) is None:
                setattr(settled.config, name, token)
        longest = max(self._targets(labels).lengths, default=1)
        own = {name: getattr(settled.config, name) for name in named}
        unknown = settled.generation_config.update(**own, **{"max_length": longest, **(self.generation or {})})
        for name in unknown:
            known = vars(settled.generation_config)
            raise InputTypeError(f"generation has {name!r}, which is no field of its config.{nearest(name, known)}")
        return self

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with each target as a second part of its input, behind its source."""
        targets, config = self._targets(labels), cast("Any", self.config)
        targets.ids[_firsts(targets)] = config.decoder_start_token_id
        targets.ids[_lasts(targets)] = config.eos_token_id
        count = len(labels)
        order = np.arange(2 * count).reshape(2, count).T.ravel()
        return Features.joined([features, targets]).of_inputs(order.tolist()).in_parts([2] * count)

    def divisor(self, features: Features) -> float:
        """Return the number of words to learn: every token of a target but its first."""
        return float(sum(_part(features, 1).lengths) - features.num_inputs)

    def loss(self, output: Any, features: Features) -> "Tensor":
        """Return the summed cross-entropy of logits ``[M, V]``."""
        from bertie.tasks.summed_losses import cross_entropy_sum

        targets = _part(features, 1)
        words = np.delete(targets.ids, _firsts(targets))
        return cross_entropy_sum(output, words, smoothing=self.label_smoothing)

    def _targets(self, labels: Sequence[Any]) -> Features:
        """Return the targets to learn as a row each."""
        return replace(self, max_length=self.max_target_length or self.target_limit).cut([right[0] for right in labels])

    # scoring

    def metric(self) -> Metric:
        return TextOverlapMetric(lowercase=bool(getattr(self.tokenizer, "do_lower_case", False)))

    def predictions(self, outputs: Outputs) -> list[str]:
        return self.decode(outputs)

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        metric, written = self.metric(), self.decode(outputs)
        likeness = np.asarray(metric.figures(metric.rows(written, outputs.labels))[metric.main])
        return [
            None if said in right else WrongAnswer(1 - float(alike), right[0], said)
            for said, right, alike in zip(written, outputs.labels, likeness, strict=True)
        ]


def _part(features: Features, number: int) -> Features:
    """Return the sources (0) or the targets (1) of inputs that have both, a row each."""
    return features.select(np.flatnonzero(features.parts == number).tolist())


def _firsts(features: Features) -> Integers:
    """Return the place of each row's first token."""
    return np.cumsum([0, *features.lengths[:-1]])


def _lasts(features: Features) -> Integers:
    """Return the place of each row's last token."""
    return np.cumsum(features.lengths) - 1
