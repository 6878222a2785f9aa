"""The stack of blocks, with collection of each layer's outputs and activation checkpointing."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

from bertie.attention.dense import PositionBuckets
from bertie.capture import has_hooks
from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.layers.block import BertLayer
from bertie.layers.rectangle import Collected
from bertie.outputs import BaseModelOutputWithPastAndCrossAttentions
from bertie.packing import Packed


class BertEncoder(nn.Module):
    """``L`` blocks, one after the other."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        layers = [BertLayer(config, index) for index in range(config.num_hidden_layers)]
        self.layer = nn.ModuleList(layers)
        if buckets := config.family.position_buckets:
            self.relative_attention_bias = nn.Embedding(buckets, config.num_attention_heads)
            for layer in layers:
                layer.attention.self.distances = PositionBuckets(self.relative_attention_bias)
        self.checkpointing = Checkpointing()

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | Packed | None = None,
        encoder_hidden_states: Tensor | Packed | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        collected: Collected | None = None,
        **others: Any,
    ) -> Any:
        """Run the blocks; arguments as in `BertLayer.forward`.

        Args:
            use_cache: whether to return ``past_key_values``.
            output_attentions, output_hidden_states: whether to return those of every layer.
            return_dict: False returns a tuple.
            collected: collects the outputs of every layer that the caller wants.

        Returns:
            ``BaseModelOutputWithPastAndCrossAttentions``, or a tuple of its fields.
        """
        if collected is None and (output_attentions or output_hidden_states):
            collected = Collected(None, bool(output_attentions), bool(output_hidden_states))
        if collected is not None:
            others["collected"] = collected
        for run in self._blocks():
            hidden_states = hidden_states if collected is None else collected.add_hidden_states(hidden_states)
            hidden_states = run(
                hidden_states,
                attention_mask,
                encoder_hidden_states,
                encoder_attention_mask=encoder_attention_mask,
                past_key_values=past_key_values,
                **others,
            )
        if collected is not None:
            hidden_states = collected.add_hidden_states(hidden_states)
        output = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=hidden_states, past_key_values=past_key_values if use_cache else None
        )
        if collected is not None:
            output.update(collected.members())
        return output.to_tuple() if return_dict is False else output

    def first_tokens(self, hidden_states: Tensor, packed: Packed) -> Tensor:
        """Return the last hidden state of each text's first token, ``[B, D]``; the last block computes only these."""
        last: Any = self.layer[-1]
        for run in self._blocks()[:-1]:
            hidden_states = run(hidden_states, packed)
        return last.first_tokens(hidden_states, packed)

    def _blocks(self) -> list[Callable[..., Any]]:
        wrap = self.checkpointing.wrap
        return [wrap(layer, index) if self.training else layer for index, layer in enumerate(self.layer)]

    def can_skip(self, packed: Packed) -> bool:
        last: Any = self.layer[-1] if len(self.layer) else None
        return last is not None and last.can_skip(packed) and not has_hooks(self)


class Checkpointing:
    """Activation checkpointing: which blocks drop their activations, and how these are recomputed."""

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

        def run(*inputs: Any, **named: Any) -> Any:
            block = partial(layer, **named)
            if not self.offload:
                return checkpoint(block, *inputs, **self.arguments)
            with save_on_cpu(pin_memory=inputs[0].is_cuda):
                return checkpoint(block, *inputs, **self.arguments)

        return run
