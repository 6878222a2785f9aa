"""The stack of blocks, and what it collects on the way."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

from bertie.config import BertConfig
from bertie.layers.block import BertLayer
from bertie.packing import Packed


class Encoded(NamedTuple):
    """``last_hidden_state [T, D]``; the rest None unless asked for, one entry a layer (hidden states: one more)."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None
    cross_attentions: tuple[Tensor, ...] | None


class BertEncoder(nn.Module):
    """``L`` blocks, one after the other."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([BertLayer(config, index) for index in range(config.num_hidden_layers)])
        self.checkpointing = Checkpointing()

    def forward(
        self,
        hidden_states: Tensor,
        packed: Packed,
        encoder: Packed | None = None,
        cache: Any = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> Encoded:
        states, attentions, cross_attentions = [hidden_states], [], []
        for index, layer in enumerate(self.layer):
            run = self.checkpointing.wrap(layer, index) if self.training else layer
            hidden_states, attention, cross_attention = run(hidden_states, packed, encoder, cache, output_attentions)
            states.append(hidden_states)
            attentions.append(attention)
            cross_attentions.append(cross_attention)
        return Encoded(
            hidden_states,
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
            # As in the reference, the member is there, and empty, in a model without cross-attention (decision 16).
            tuple(weights for weights in cross_attentions if weights is not None) if output_attentions else None,
        )


class Checkpointing:
    """Activation checkpointing: which blocks drop their activations, and how these are computed anew."""

    def __init__(self) -> None:
        self.every_n_layers = 0
        self.offload = False
        self.arguments: dict[str, Any] = {}

    def enable(self, arguments: dict[str, Any] | None, every_n_layers: int, offload: bool) -> None:
        """Checkpoint every ``every_n_layers``-th block; ``offload`` keeps what is saved in host memory."""
        self.arguments = {"use_reentrant": False} if arguments is None else dict(arguments)
        self.every_n_layers, self.offload = every_n_layers, offload

    def disable(self) -> None:
        self.every_n_layers = 0

    def wrap(self, layer: nn.Module, index: int) -> Callable[..., Any]:
        """Return ``layer``, or a function that runs it under a checkpoint."""
        if not self.every_n_layers or index % self.every_n_layers:
            return layer

        def run(*inputs: Any) -> Any:
            if not self.offload:
                return checkpoint(layer, *inputs, **self.arguments)
            with save_on_cpu(pin_memory=inputs[0].is_cuda):
                return checkpoint(layer, *inputs, **self.arguments)

        return run
