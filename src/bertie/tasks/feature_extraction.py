"""Feature extraction: the encoder's vector of every token, for programs that take it from there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertie.extras import need
from bertie.tasks.arrays import Array
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, operations_on
from bertie.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class FeatureExtraction(Task):
    """Answers are the reference's: ``[1][S][D]`` nested lists a text."""

    return_tensors: bool = False  # True gives a tensor [1, S, D] a text instead

    def run(self, model: Model, features: Features) -> Computed:
        """Return the hidden states ``[T, D]``."""
        return model.hidden_states(features)

    def rows(self, output: Any, features: Features) -> Sequence[Any]:
        """Return the hidden states of each row's own tokens; tensors stay tensors, in their own dtype."""
        return features.own(features.by_row(output if isinstance(output, np.ndarray) else output.cpu()))

    def combine(self, rows: Sequence[Any], features: Features) -> list[list[Any]]:
        return features.by_input(rows)

    def decode(self, outputs: Outputs) -> list[Any]:
        if not self.return_tensors:
            return [[[vector for part in parts for vector in part.tolist()]] for parts in outputs.values]
        torch = need("torch", "torch", "return_tensors=True")
        return [torch.cat([torch.as_tensor(part) for part in parts])[None] for parts in outputs.values]


@dataclass(frozen=True, kw_only=True)
class TokenVectors(FeatureExtraction):
    """Answers are arrays ``[S, D]``, one a text, in float32."""

    def rows(self, output: Any, features: Features) -> Sequence[Array]:
        do = operations_on(output)
        return features.own(features.by_row(do.to_host(do.widened(output))))

    def decode(self, outputs: Outputs) -> list[Array]:
        return list(map(np.concatenate, outputs.values))
