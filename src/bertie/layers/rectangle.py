"""Batches that came in as rectangles ``[B, S]``: with or without their padding inside, rectangles again outside.

What is returned lies on the way to whatever is computed after it, so that gradients with respect to it exist.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from bertie.attention.dense import real_places
from bertie.packing import Packed, flatten, unflatten


class Given(NamedTuple):
    """What makes up a batch, by the names of `BertModel`'s arguments."""

    input_ids: Any = None  # a tensor or a `Packed`
    attention_mask: Tensor | None = None
    token_type_ids: Tensor | None = None
    position_ids: Tensor | None = None
    inputs_embeds: Tensor | None = None

    def content(self) -> Tensor:
        """Return the ids ``[B, S]`` or vectors ``[B, S, D]`` that are there."""
        return self.input_ids if self.inputs_embeds is None else self.inputs_embeds


class Unpadded(Packed):
    """A batch whose padding is packed away inside: hidden states are ``[T, D]``."""

    @classmethod
    def of(cls, packed: Packed) -> "Unpadded":
        """Return a batch that was packed at the door."""
        batch = object.__new__(cls)
        batch.__dict__.update(packed.__dict__)
        return batch

    def shown(self, values: Tensor, fill: float = 0) -> tuple[Tensor, Tensor]:
        """Return what goes out of ``values [T, ...]``, and the same ``[T, ...]`` to go on with."""
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
    """A batch that keeps its padding inside, because someone looks in: hidden states are ``[B, S, D]``.

    ``packed``: the same batch as the door sees it; ``arguments``: what `BertModel` takes, by name, as it was given;
    ``real``: bool ``[B, S]``, False marks padding (None: there is none); ``came_packed``: answers are ``[T, ...]``.
    """

    packed: Packed
    arguments: dict[str, Any]
    real: Tensor | None
    came_packed: bool

    @classmethod
    def of(
        cls, packed: Packed, arguments: dict[str, Tensor | None] | None = None, first_position: int = 0
    ) -> "Rectangle":
        """Return a batch with its padding again; ``arguments``: those it was entered with, if it wasn't packed.

        ``first_position``: where the model's positions begin.
        """
        real = real_places(packed)
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
        """The number of places, padding included."""
        return self.shape[0] * self.shape[1]

    def pad(self, values: Tensor, fill: float | bool = 0) -> Tensor:
        """Return ``values [B, S, ...]`` (or ``[B * S]``) as a rectangle whose padding holds ``fill``."""
        values = values.view(self.shape) if values.dim() == 1 else values
        if self.real is None:
            return values
        real = self.real.view(*self.shape, *(1 for _ in values.shape[2:]))
        return torch.where(real, values, torch.as_tensor(fill, dtype=values.dtype, device=values.device))

    def unpad(self, values: Tensor, fill: float | bool = 0) -> Tensor:
        """Return ``values [B, S, ...]`` as ``[B * S, ...]``, with ``fill`` where there is padding."""
        return self.pad(values, fill).flatten(0, 1)

    def shown(self, values: Tensor, fill: float = 0) -> tuple[Tensor, Tensor]:
        """Return what goes out of ``values [B, S, ...]``, and the same to go on with."""
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
        """Return ``[B]`` bool, True for a text without tokens; None where there is none."""
        return None if self.real is None else ~self.real.any(dim=1)


Batch = Packed | Rectangle


def shown_at(batch: Batch, values: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return what goes out of ``values``, and of the same the rows of ``tokens`` alone to go on with."""
    if isinstance(batch, Unpadded):  # without a second copy of all rows
        out = batch.pad(values)
        places = tokens if batch.flat_index is None else batch.flat_index.index_select(0, tokens)
        return out, out.flatten(0, 1).index_select(0, places)
    out, values = shown(batch, values)
    return out, values.flatten(0, -2).index_select(0, tokens)


def shown(batch: Batch, values: Tensor, fill: float = 0) -> tuple[Tensor, Tensor]:
    """Return what goes out of ``values``, and the same to go on with."""
    return batch.shown(values, fill) if isinstance(batch, Unpadded | Rectangle) else (values, values)


class Collected:
    """The hidden states and attention weights of one call that asked for them."""

    def __init__(self, batch: Batch | None, attentions: bool, hidden_states: bool) -> None:
        self.batch = batch
        self.hidden_states: list[Tensor] | None = [] if hidden_states else None
        self.attentions: list[Tensor] | None = [] if attentions else None
        # As in the reference, the member is there, and empty, in a model without cross-attention (decision 16).
        self.cross_attentions: list[Tensor] | None = [] if attentions else None

    @property
    def real(self) -> Tensor | None:
        """Bool ``[B, S]``, False where a rectangle has padding."""
        return self.batch.real if isinstance(self.batch, Rectangle) else None

    def add_hidden_states(self, hidden_states: Tensor) -> Tensor:
        """Gather a layer's hidden states, if they are wanted, and return them to go on with."""
        if self.hidden_states is None:
            return hidden_states
        out = hidden_states
        if self.batch is not None:
            out, hidden_states = shown(self.batch, hidden_states)
        self.hidden_states.append(out)
        return hidden_states

    def add_weights(self, weights: Tensor, is_cross_attention: bool) -> None:
        """Gather the weights of an attention, if they are wanted."""
        gathered = self.cross_attentions if is_cross_attention else self.attentions
        if gathered is not None:
            gathered.append(weights)

    def members(self) -> dict[str, tuple[Tensor, ...]]:
        """Return what was gathered, under the names of an output's fields."""
        gathered = {
            "hidden_states": self.hidden_states,
            "attentions": self.attentions,
            "cross_attentions": self.cross_attentions,
        }
        return {name: tuple(each) for name, each in gathered.items() if each is not None}
