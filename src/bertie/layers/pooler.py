"""The pooled vector of a text: its first token through a dense layer and tanh."""

from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.layers.linear import Linear
from bertie.packing import Packed


class BertPooler(nn.Module):
    """``tanh(dense(first token))``: ``[B, S, D]``, or ``[T, D]`` with their `Packed`, to ``[B, D]``.

    A packed text without tokens gets zeros (decision 5).
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden_states: Tensor, packed: Packed | None = None) -> Tensor:
        if packed is None:
            return self.activation(self.dense(hidden_states[:, 0]))
        pooled = self.activation(self.dense(packed.first(hidden_states)))
        empty = packed.empty()
        return pooled if empty is None else pooled.masked_fill(empty[:, None], 0)
