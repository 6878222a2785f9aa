"""The position-wise feed-forward network of a block (arXiv 1706.03762, section 3.3)."""

from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.layers.activations import activation


class BertIntermediate(nn.Module):
    """``activation(dense(x))``: ``[T, D]`` to ``[T, F]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.intermediate_act_fn(self.dense(hidden_states))


class BertOutput(nn.Module):
    """``LayerNorm(residual + dropout(dense(x)))``: ``[T, F]`` to ``[T, D]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + residual)
