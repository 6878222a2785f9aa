"""The properties of an attention call, to which a backend may object, and the protocol of backends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bertie.attention.cache_layer import CachedKeys
from bertie.capture import is_intercepted, is_tracing
from bertie.packing import Packed

# Takes rectangles of queries [B, H, S, K] and keys [B, H, S_keys, K], returns [B, H, S, S_keys] to add to the scores.
ScoreBias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Request:
    """The properties of a call of ``attend`` that decide which backends can serve it."""

    device: str
    dtype: torch.dtype
    head_width: int
    dropout_p: float = 0.0
    causal: bool = False
    mask: bool = False
    score_bias: bool = False
    weights: bool = False
    foreign_keys: bool = False
    cached_keys: bool = False
    known_key_lengths: bool = False  # keys are cached, and all queries of a text see the same number of them
    compiling: bool = False
    intercepted: bool = False


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of ``attend``, documented there; ``keys`` is ``packed`` in self-attention without a cache."""

    q: Tensor
    k: Tensor
    v: Tensor
    packed: Packed
    keys: Packed | CachedKeys
    causal: bool = False
    dropout_p: float = 0.0
    score_bias: ScoreBias | None = None
    weights: bool = False

    @property
    def gradients(self) -> bool:
        """Whether this call is to be differentiated."""
        return torch.is_grad_enabled() and any(part.requires_grad for part in (self.q, self.k, self.v))

    @property
    def request(self) -> Request:
        """The facts of this call."""
        return Request(
            device=self.q.device.type,
            dtype=self.q.dtype,
            head_width=self.q.shape[-1],
            dropout_p=self.dropout_p,
            causal=self.causal,
            mask=self.keys.attention_mask is not None,
            score_bias=self.score_bias is not None,
            weights=self.weights,
            foreign_keys=self.keys is not self.packed,
            cached_keys=self.k.dim() == 4 or isinstance(self.keys, CachedKeys),
            known_key_lengths=isinstance(self.keys, CachedKeys) and not self.causal,
            compiling=is_tracing(),
            intercepted=type(self.q) is not Tensor or is_intercepted(),
        )


class Backend(Protocol):
    """One way to compute attention, without state shared with the others and without global switches."""

    @property
    def name(self) -> str: ...

    def why_not(self, request: Request) -> list[str]:
        """Return every objection to ``request``; an empty list means that this backend serves it."""

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        """Return the context ``[T, H, K]`` and, if requested, the weights ``[B, H, S, S_keys]``."""


def dense_only_reasons(request: Request) -> list[str]:
    """Return the parts of ``request`` that only the dense backend supports, as objections of the others."""
    reasons = {
        "a custom mask (3-D, 4-D, or of a captured graph) needs the score matrix": request.mask,
        "relative positions are added to the score matrix": request.score_bias,
        "attention weights are requested": request.weights,
        "keys come from a cache": request.cached_keys and not request.known_key_lengths,
    }
    return [reason for reason, holds in reasons.items() if holds]
