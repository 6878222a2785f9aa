"""Feature extraction: the encoder's vector of every token, for further use by the caller."""

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
    """An answer has the reference's form: nested lists ``[1][S][D]`` per text."""

    return_tensors: bool = False  # True returns a tensor [1, S, D] per text instead

    def run(self, model: Model, features: Features) -> Computed:
        """Return the hidden states ``[T, D]``."""
        return model.hidden_states(features)

    def rows(self, output: Any, features: Features) -> Sequence[Any]:
        """Return the hidden states of the tokens that each row owns; tensors stay tensors, in their own dtype."""
        return features.keep_owned(features.by_row(output if isinstance(output, np.ndarray) else output.cpu()))

    def combine(self, rows: Sequence[Any], features: Features) -> list[list[Any]]:
        return features.by_input(rows)

    def decode(self, outputs: Outputs) -> list[Any]:
        if not self.return_tensors:
            return [[[vector for part in parts for vector in part.tolist()]] for parts in outputs.values]
        torch = need("torch", "torch", "return_tensors=True")
        return [torch.cat([torch.as_tensor(part) for part in parts])[None] for parts in outputs.values]


@dataclass(frozen=True, kw_only=True)
class TokenVectors(FeatureExtraction):
    """An answer is a float32 array ``[S, D]`` per text."""

    def rows(self, output: Any, features: Features) -> Sequence[Array]:
        return features.keep_owned(features.by_row(operations_on(output).to_host(output)))

    def decode(self, outputs: Outputs) -> list[Array]:
        return list(map(np.concatenate, outputs.values))
