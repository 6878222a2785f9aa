"""Batches given as padded rectangles ``[B, S]``: computed with or without the padding, returned as rectangles.

Whatever is returned is part of the graph of what is computed from it, so that gradients with respect to it exist.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from bertie.attention.dense import real_token_mask
from bertie.packing import Packed, flatten, unflatten


class Given(NamedTuple):
    """A batch's inputs, by the names of `BertModel`'s arguments."""

    input_ids: Any = None  # a tensor or a `Packed`
    attention_mask: Tensor | None = None
    token_type_ids: Tensor | None = None
    position_ids: Tensor | None = None
    inputs_embeds: Tensor | None = None

    def content(self) -> Tensor:
        """Return the ids ``[B, S]`` or vectors ``[B, S, D]``, whichever were given."""
        return self.input_ids if self.inputs_embeds is None else self.inputs_embeds


class Unpadded(Packed):
    """A padded batch that was packed on entry: hidden states are ``[T, D]``, outputs rectangles."""

    @classmethod
    def of(cls, packed: Packed) -> "Unpadded":
        """Return the packed form of a padded batch."""
        batch = object.__new__(cls)
        batch.__dict__.update(packed.__dict__)
        return batch

    def shown(self, values: Tensor, fill: float = 0) -> tuple[Tensor, Tensor]:
        """Return ``values [T, ...]`` as an output ``[B, S, ...]``, and the values ``[T, ...]`` to continue with."""
        out = self.pad(values, fill)
        return out, self.unpad(out) if out.requires_grad else values


pytree.register_pytree_node(
    Unpadded,
    flatten,
    lambda values, shape: unflatten(values, shape, Unpadded),
    serialized_type_name="bertie.layers.rectangle.Unpadded",
)


@dataclass(frozen=True, eq=False)
class Rectangle:
    """A batch that keeps its padding because hooks or replaced modules expect it: hidden states are ``[B, S, D]``.

    ``packed``: the same batch, packed; ``arguments``: those given to `BertModel`, by name; ``real``: bool ``[B, S]``,
    False for padding, or None without padding; ``came_packed``: whether outputs are ``[T, ...]``.
    """

    packed: Packed
    arguments: dict[str, Any]
    real: Tensor | None
    came_packed: bool

    @classmethod
    def of(
        cls, packed: Packed, arguments: dict[str, Tensor | None] | None = None, first_position: int = 0
    ) -> "Rectangle":
        """Return a batch with its padding restored; ``arguments``: those of the call, unless it was given packed.

        ``first_position``: the model's first position.
        """
        real = real_token_mask(packed)
        if arguments is None:
            ids, embeds, mask = packed.input_ids, packed.inputs_embeds, packed.attention_mask
            arguments = {
                "input_ids": None if ids is None else packed.pad(ids),
                "attention_mask": real if mask is None else mask,
                "token_type_ids": packed.pad(packed.token_type_ids),
                "position_ids": packed.pad(packed.position_ids + first_position),
                "inputs_embeds": None if embeds is None else packed.pad(embeds),
            }
            return cls(packed, arguments, real, came_packed=not isinstance(packed, Unpadded))
        return cls(packed, arguments, real, came_packed=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.packed.shape

    @property
    def num_tokens(self) -> int:
        """The number of tokens, including padding."""
        return self.shape[0] * self.shape[1]

    def pad(self, values: Tensor, fill: float | bool = 0) -> Tensor:
        """Return ``values [B, S, ...]`` (or ``[B * S]``) as a rectangle whose padding holds ``fill``."""
        values = values.view(self.shape) if values.dim() == 1 else values
        if self.real is None:
            return values
        real = self.real.view(*self.shape, *(1 for _ in values.shape[2:]))
        return torch.where(real, values, torch.as_tensor(fill, dtype=values.dtype, device=values.device))

    def unpad(self, values: Tensor, fill: float | bool = 0) -> Tensor:
        """Return ``values [B, S, ...]`` as ``[B * S, ...]``, with ``fill`` for padding."""
        return self.pad(values, fill).flatten(0, 1)

    def shown(self, values: Tensor, fill: float = 0) -> tuple[Tensor, Tensor]:
        """Return ``values [B, S, ...]`` as an output, and the values to continue with."""
        if self.came_packed:
            out = self.packed.unpad(values)
            return out, self.packed.pad(out)
        out = self.pad(values, fill)
        return out, out

    def first_to_front(self, values: Tensor) -> Tensor:
        """Return ``values [B, S, D]`` with each text's first token in column 0 (decision 2)."""
        if self.real is None:
            return values
        first = self.real.to(torch.uint8).argmax(dim=1, keepdim=True)
        columns = (first + torch.arange(self.shape[1], device=first.device)) % max(self.shape[1], 1)
        return values.gather(1, columns[..., None].expand_as(values))

    def empty(self) -> Tensor | None:
        """Return ``[B]`` bool, True for a text without tokens; None if there is no padding."""
        return None if self.real is None else ~self.real.any(dim=1)


Batch = Packed | Rectangle


def shown_at(batch: Batch, values: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Like `shown`, but return only the rows ``tokens`` of the values to continue with."""
    if isinstance(batch, Unpadded):  # avoids a second copy of all rows
        out = batch.pad(values)
        places = tokens if batch.flat_index is None else batch.flat_index.index_select(0, tokens)
        return out, out.flatten(0, 1).index_select(0, places)
    out, values = shown(batch, values)
    return out, values.flatten(0, -2).index_select(0, tokens)


def shown(batch: Batch, values: Tensor, fill: float = 0) -> tuple[Tensor, Tensor]:
    """Return ``values`` as an output of the model, and the values to continue with, which depend on the output."""
    return batch.shown(values, fill) if isinstance(batch, Unpadded | Rectangle) else (values, values)


class Collected:
    """Collects the hidden states and attention weights of one call, if requested."""

    def __init__(self, batch: Batch | None, attentions: bool, hidden_states: bool) -> None:
        self.batch = batch
        self.hidden_states: list[Tensor] | None = [] if hidden_states else None
        self.attentions: list[Tensor] | None = [] if attentions else None
        # As in the reference, this field exists, though empty, in a model without cross-attention (decision 16).
        self.cross_attentions: list[Tensor] | None = [] if attentions else None

    @property
    def real(self) -> Tensor | None:
        """Bool ``[B, S]``, False for a rectangle's padding; None without padding."""
        return self.batch.real if isinstance(self.batch, Rectangle) else None

    def add_hidden_states(self, hidden_states: Tensor) -> Tensor:
        """Collect a layer's hidden states, if requested, and return those to continue with."""
        if self.hidden_states is None:
            return hidden_states
        out = hidden_states
        if self.batch is not None:
            out, hidden_states = shown(self.batch, hidden_states)
        self.hidden_states.append(out)
        return hidden_states

    def add_weights(self, weights: Tensor, is_cross_attention: bool) -> None:
        """Collect an attention's weights, if requested."""
        collected = self.cross_attentions if is_cross_attention else self.attentions
        if collected is not None:
            collected.append(weights)

    def members(self) -> dict[str, tuple[Tensor, ...]]:
        """Return what was collected, by the names of an output's fields."""
        names = ("hidden_states", "attentions", "cross_attentions")
        return {name: tuple(values) for name in names if (values := getattr(self, name)) is not None}
