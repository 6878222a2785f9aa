"""Sequence to sequence: a target text for each source, such as a summary, as two BERTs write it (arXiv 1907.12461)."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import numpy as np

from bertie.errors import InputTypeError
from bertie.generation.generation_config import GenerationConfig
from bertie.metrics import Metric, TextOverlapMetric
from bertie.tasks.arrays import Array
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model, Seq2SeqModel
from bertie.tasks.operations import Computed, Loss
from bertie.tasks.task import Task, TrainableTask, WrongAnswer
from bertie.tasks.text_encoder import check_count
from bertie.tasks.text_generation import Text2TextGeneration


@dataclass(frozen=True, kw_only=True)
class Seq2Seq(TrainableTask):
    """What learns for `bertie.tasks.text_generation.Text2TextGeneration`, which writes what is scored.

    A label holds the right targets; the first is learned, as the decoder's words from its start token to the end token.
    """

    max_target_length: int | None = None  # tokens of a target to learn, start and end included; None: all
    # fields of a `bertie.GenerationConfig` by which targets are written, which are saved with the model; without
    # ``max_length``, they get no longer than the longest that was learned
    generation: Mapping[str, Any] | None = None
    label_smoothing: float = 0.0  # the share of each word that is learned as any word alike
    given: ClassVar[tuple[str, ...]] = (*Task.given, "windows", "overlap")
    saved: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": TextOverlapMetric}
    loss_of_answers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_target_length is not None:
            check_count("max_target_length", self.max_target_length, self.target_limit)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        fields = options.get("generation") or {}
        if not isinstance(fields, Mapping):
            raise InputTypeError(f"generation is {fields!r:.60}; give a mapping, such as {{'num_beams': 4}}.")
        GenerationConfig(**fields)

    @classmethod
    def from_inference_task(cls, task: Task) -> Self:
        return cls(tokenizer=task.tokenizer, config=task.config, generation=getattr(task, "generation", None))

    def inference_task(self) -> Text2TextGeneration:
        return Text2TextGeneration(tokenizer=self.tokenizer, config=self.config, generation=self.generation)

    @property
    def target_limit(self) -> int:
        return int(self.config.get_text_config(decoder=True).max_position_embeddings)

    # sources → targets

    def run(self, model: Model, features: Features) -> Computed:
        """Return the targets written for sources ``[R, S]``; beside targets the logits ``[M, V]`` of their M words."""
        if features.parts is None:
            return self.inference_task().run(model, features)
        targets = _part(features, 1)
        read = np.delete(targets.ids, targets.stops - 1)
        shorter = replace(targets, ids=read, types=None, lengths=[length - 1 for length in targets.lengths])
        return cast("Seq2SeqModel", model).target_logits(_part(features, 0), shorter)

    def rows(self, output: Any, features: Features) -> Sequence[Array]:
        return self.inference_task().rows(output, features)

    def decode(self, outputs: Outputs) -> list[Any]:
        return self.inference_task().decode(outputs)

    # targets → loss

    def on_train_start(self, model: Any, labels: Sequence[Any]) -> Self:
        """Return the task with a tokenizer that cuts as it does, and have the model write targets as it is to learn."""
        tokens = copy.copy(self.tokenizer)
        named = {
            "decoder_start_token_id": tokens.cls_token_id,
            "eos_token_id": tokens.sep_token_id,
            "pad_token_id": tokens.pad_token_id,
        }
        for name, token in named.items():
            if getattr(model.config, name) is None:
                setattr(model.config, name, token)
        own = {name: getattr(model.config, name) for name in named}
        longest = max(self._targets(labels).lengths, default=1)
        model.generation_config.update(**own, **{"max_length": longest, **(self.generation or {})})
        tokens.model_max_length = self.limit
        return replace(self, tokenizer=tokens)

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with each target as a second part of its input, behind its source."""
        targets, config = self._targets(labels), cast("Any", self.config)
        targets.ids[targets.starts] = config.decoder_start_token_id
        targets.ids[targets.stops - 1] = config.eos_token_id
        count = len(labels)
        order = np.arange(2 * count).reshape(2, count).T.ravel()
        return Features.joined([features, targets]).of_inputs(order.tolist()).in_parts([2] * count)

    def divisor(self, features: Features) -> float:
        """Return the number of words to learn: every token of a target but its first."""
        return float(sum(_part(features, 1).lengths) - features.num_inputs)

    def loss(self, output: Any, features: Features) -> Loss:
        """Return the summed cross-entropy of logits ``[M, V]``."""
        from bertie.tasks.summed_losses import cross_entropy_sum

        targets = _part(features, 1)
        words = np.delete(targets.ids, targets.starts)
        return cross_entropy_sum(output, words, smoothing=self.label_smoothing)

    def _targets(self, labels: Sequence[Any]) -> Features:
        """Return the targets to learn as a row each."""
        return replace(self, max_length=self.max_target_length or self.target_limit).cut([right[0] for right in labels])

    # scoring

    def metric(self) -> Metric:
        return TextOverlapMetric(lowercase=bool(getattr(self.tokenizer, "do_lower_case", False)))

    def predictions(self, outputs: Outputs) -> list[str]:
        """Return what is written for each source, of several texts the first."""
        return [answers[0]["generated_text"] for answers in self.decode(outputs)]

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        metric, written = self.metric(), self.predictions(outputs)
        likeness = np.asarray(metric.compute(metric.rows(written, outputs.labels))[metric.main])
        return [
            None if said in right else WrongAnswer(1 - float(alike), right[0], said)
            for said, right, alike in zip(written, outputs.labels, likeness, strict=True)
        ]


def _part(features: Features, number: int) -> Features:
    """Return the sources (0) or the targets (1) of inputs that have both, a row each."""
    return features.select(np.flatnonzero(features.parts == number).tolist())
