"""The scores of a text read in windows, from those of its windows: their mean or their maximum."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bertie.tasks.features import Array, Features

WAYS = ("mean", "max")


def combined(rows: Sequence[Any], features: Features, way: str) -> Array:
    """Return ``[N, ...]``, one entry an input, from those of R rows on the host."""
    values = np.stack(rows) if len(rows) else np.zeros((0,), np.float32)
    if features.owners is None or not len(rows):
        return values
    firsts = features.first_rows[:-1]
    if way == "max":
        return np.maximum.reduceat(values, firsts)
    counts = np.diff(features.first_rows).astype(values.dtype)
    return np.add.reduceat(values, firsts) / counts.reshape(-1, *(1 for _ in values.shape[1:]))


def combined_logits(logits: Tensor, features: Features, way: str) -> Tensor:
    """Return ``[N, C]`` from logits ``[R, C]``, with gradients."""
    if features.owners is None:
        return logits
    lengths = torch.from_numpy(np.diff(features.first_rows)).to(logits.device)
    return torch.segment_reduce(logits.float(), way, lengths=lengths).to(logits.dtype)
