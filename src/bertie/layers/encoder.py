"""The stack of blocks, and what it collects on the way."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.layers.block import BertLayer
from bertie.layers.flat import flat
from bertie.layers.linear import has_hooks
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
        if encoder is None and cache is None and not (output_attentions or output_hidden_states):
            together = flat(self.layer, hidden_states, packed)
            if together is not None:
                return Encoded(together(hidden_states, packed), None, None, None)
        states: list[Tensor] = []
        attentions: list[Tensor] = []
        cross_attentions: list[Tensor] = []
        for run in self._blocks():
            if output_hidden_states:  # otherwise nothing holds on to a layer's output after its use
                states.append(hidden_states)
            hidden_states, attention, cross_attention = run(hidden_states, packed, encoder, cache, output_attentions)
            attentions += [] if attention is None else [attention]
            # As in the reference, the member is there, and empty, in a model without cross-attention (decision 16).
            cross_attentions += [] if cross_attention is None else [cross_attention]
        return Encoded(
            hidden_states,
            (*states, hidden_states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
            tuple(cross_attentions) if output_attentions else None,
        )

    def first_tokens(self, hidden_states: Tensor, packed: Packed) -> Tensor:
        """Return the last hidden state of each text's first token, ``[B, D]``: the last block computes nothing else."""
        last: Any = self.layer[-1]
        together = flat(self.layer, hidden_states, packed)
        if together is not None:
            return last.first_tokens(together(hidden_states, packed, len(self.layer) - 1), packed)
        for run in self._blocks()[:-1]:
            hidden_states, _, _ = run(hidden_states, packed, None, None, False)
        return last.first_tokens(hidden_states, packed)

    def _blocks(self) -> list[Callable[..., Any]]:
        wrap = self.checkpointing.wrap
        return [wrap(layer, index) if self.training else layer for index, layer in enumerate(self.layer)]

    def can_skip(self, packed: Packed) -> bool:
        """Whether `first_tokens` may be called: see `BertLayer.can_skip`."""
        last: Any = self.layer[-1] if len(self.layer) else None
        return last is not None and last.can_skip(packed) and not has_hooks(self)


class Checkpointing:
    """Activation checkpointing: which blocks drop their activations, and how these are computed anew."""

    def __init__(self) -> None:
        self.every_n_layers = 0
        self.offload = False
        self.arguments: dict[str, Any] = {}

    def enable(self, arguments: dict[str, Any] | None, every_n_layers: int, offload: bool) -> None:
        """Checkpoint every ``every_n_layers``-th block; ``offload`` keeps what is saved in host memory."""
        if every_n_layers < 1:
            raise InputError(f"every_n_layers is {every_n_layers}; it must be 1 or more.")
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
