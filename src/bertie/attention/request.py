"""What is asked of attention, as plain facts that a backend can object to, and what a backend is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bertie.packing import Packed

# Takes rectangles of queries [B, H, S, K] and keys [B, H, S_keys, K], gives [B, H, S, S_keys] to add to the scores.
ScoreBias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Request:
    """The facts of one call of ``attend`` that decide which backend can serve it."""

    device: str
    dtype: torch.dtype
    head_width: int
    dropout_p: float = 0.0
    mask: bool = False
    score_bias: bool = False
    weights: bool = False
    foreign_keys: bool = False
    compiling: bool = False


class Backend(Protocol):
    """One way to compute attention. It shares no state with the others and no global switch."""

    @property
    def name(self) -> str: ...

    def why_not(self, request: Request) -> list[str]:
        """Return every objection to ``request``; an empty list means that this backend serves it."""

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        packed: Packed,
        *,
        keys: Packed,
        causal: bool,
        dropout_p: float,
        score_bias: ScoreBias | None,
        weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context ``[T, H, K]`` and, if asked, the weights ``[B, H, S, S_keys]``."""


def needs_a_matrix(request: Request) -> list[str]:
    """Return what in ``request`` only the dense backend can do, as objections of the others."""
    reasons = {
        "a mask of its own (3-D, 4-D, or of a captured graph) needs the score matrix": request.mask,
        "relative positions are added to the score matrix": request.score_bias,
        "attention weights are asked for": request.weights,
        "keys come from a cache or from another batch": request.foreign_keys,
    }
    return [reason for reason, holds in reasons.items() if holds]
