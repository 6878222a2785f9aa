"""The position-wise feed-forward network of a block (arXiv 1706.03762, section 3.3)."""

from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.layers.activations import activation
from bertie.layers.linear import Linear


class BertIntermediate(nn.Module):
    """``activation(dense(x))``: ``[..., D]`` to ``[..., F]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.intermediate_act_fn(self.dense(hidden_states))
