"""How every sub-layer ends: projected back, dropped out, added to what came in, normalised."""

from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.layers.dropout import Dropout
from bertie.layers.linear import Linear


class _Residual(nn.Module):
    """``LayerNorm(residual + dropout(dense(x)))``: ``[..., width]`` and the residual ``[..., D]`` to ``[..., D]``."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__()
        self.dense = Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class BertSelfOutput(_Residual):
    """The end of attention."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config, config.hidden_size)


class BertOutput(_Residual):
    """The end of the feed-forward network."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config, config.intermediate_size)
