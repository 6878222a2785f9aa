"""How every sub-layer ends: projected back, dropped out, added to what came in, normalised."""

from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.layers.dropout import Dropout
from bertie.layers.linear import linear_added


class BertResidual(nn.Module):
    """``LayerNorm(residual + dropout(dense(x)))``: ``[T, width]`` and the residual ``[T, D]`` to ``[T, D]``."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(linear_added(hidden_states, self.dense, self.dropout, residual))
