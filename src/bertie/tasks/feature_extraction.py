"""Feature extraction: the encoder's vector of every token, for programs that take it from there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertie.packing import Packed
from bertie.tasks.features import Features, Values
from bertie.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class FeatureExtraction(Task):
    """Answers are the reference's: ``[1][S][D]`` nested lists a text.

    Args:
        return_tensors: True gives a tensor ``[1, S, D]`` a text instead.
    """

    return_tensors: bool = False

    def run(self, model: Any, packed: Packed, features: Features) -> Tensor:
        """Return the hidden states ``[T, D]``."""
        del features
        hidden: Tensor = getattr(model, "bert", model)(packed, return_dict=True).last_hidden_state
        return hidden

    def rows(self, output: Tensor, features: Features) -> Sequence[Tensor]:
        """Return the hidden states of each row's own tokens."""
        parts = output.cpu().split(features.lengths)
        if features.owned is None:
            return parts
        owned = torch.from_numpy(features.owned).split(features.lengths)
        return [part[mask] for part, mask in zip(parts, owned, strict=True)]

    def combine(self, rows: Sequence[Any], features: Features) -> list[Tensor]:
        """Return the hidden states of each text's tokens ``[S, D]``."""
        return [torch.cat([rows[row] for row in group]) for group in features.groups()]

    def decode(self, values: Values, features: Features) -> Sequence[Any]:
        """Return them as tensors or nested lists."""
        del features
        return [value[None] if self.return_tensors else [value.tolist()] for value in values]
