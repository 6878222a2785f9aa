"""The pooled vector of a text: its first token through a dense layer and tanh."""

import torch
from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.layers.linear import linear
from bertie.packing import Packed


class BertPooler(nn.Module):
    """``tanh(dense(first token))``: ``[T, D]`` to ``[B, D]``; zeros for a text without tokens (decision 5)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: Tensor, packed: Packed) -> Tensor:
        pooled = torch.tanh(linear(packed.first(hidden_states), self.dense))
        empty = packed.empty()
        return pooled if empty is None else pooled.masked_fill(empty[:, None], 0)
