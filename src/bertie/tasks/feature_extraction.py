"""Feature extraction: the encoder's vector of every token, for programs that take it from there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bertie.packing import Packed
from bertie.tasks.features import Features
from bertie.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class FeatureExtraction(Task):
    """Answers are the reference's: ``[1][S][D]`` nested lists a text.

    Args:
        return_tensors: True gives a tensor ``[1, S, D]`` a text instead.
    """

    return_tensors: bool = False

    def run(self, model: Any, packed: Packed) -> Tensor:
        """Return the hidden states ``[T, D]``."""
        hidden: Tensor = getattr(model, "bert", model)(packed, return_dict=True).last_hidden_state
        return hidden

    def decode(self, output: Tensor, features: Features) -> Sequence[Any]:
        """Return each text's part."""
        parts = output.cpu().split(features.lengths)
        return [part[None] if self.return_tensors else [part.tolist()] for part in parts]
