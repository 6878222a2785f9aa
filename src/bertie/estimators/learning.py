"""What the estimators that learn share: the parameters of a fine-tuning, the call of it, and what it leaves behind."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bertie.estimators.estimator import Estimator
from bertie.extras import need
from bertie.settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bertie.training import History


@dataclass(eq=False, repr=False)
class LearningEstimator(Estimator):
    """Parameters as `bertie.finetune` has them; scikit-learn finds them in the signature, stored unchanged."""

    model: "str | os.PathLike[str] | nn.Module"
    _: KW_ONLY
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    max_length: int | None = None
    windows: bool | None = None
    overlap: int | None = None
    dev: Any = None
    patience: int | None = None
    lora: int | None = None
    settings: Settings | None = None
    seed: int | None = None
    device: "str | int | torch.device | None" = None
    show_progress: bool | None = None

    @property
    def history_(self) -> "History | None":
        """The course of the training; None where the estimator was loaded."""
        if self._history is None:
            return None
        from bertie.training import History

        return History.from_dict(self._history)

    def _learn(self, rows: Sequence[Mapping[str, Any]], kind: str | None = None, **more: Any) -> None:
        """Fine-tune on all rows but those kept as dev; nothing is scored, which is the caller's to do."""
        need("torch", "torch", "Fine-tuning")
        from bertie.finetuning import finetune

        given = {field.name: getattr(self, field.name) for field in fields(LearningEstimator)}
        result = finetune(self.task, rows, test=0, kind=kind, **given, **more)
        self.pipeline_ = result.pipeline
        self.pipeline_.show_progress = self.show_progress
        self.metrics_: dict[str, float | None] = result.history.best_metrics
        # in JSON's kinds: who unpickles the estimator where PyTorch is not installed answers all the same
        self._history: dict[str, Any] | None = result.history.to_dict()

    def _scores(self, texts: Sequence[Any]) -> NDArray[np.float32]:
        """Return the score of every label for each text, ``[n, C]`` in the order of the model's labels."""
        numbers = self.pipeline_.model.config.label2id
        found = np.zeros((len(texts), len(numbers)), np.float32)
        for row, answer in zip(found, self.pipeline_(texts, top_k=None) if len(texts) else [], strict=True):
            for one in answer:
                row[numbers[one["label"]]] = one["score"]
        return found

    def _restore(self, note: Mapping[str, Any]) -> None:
        del note
        self.metrics_, self._history = {}, None
