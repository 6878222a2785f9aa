"""Dropout whose decisions are made again in the backward pass, by a hash of where a number stands: none is kept."""

from ctypes import byref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertie.native.layout import DropoutLayout
from bertie.native.library import InstructionSet

_BITS = 2**32


@dataclass(frozen=True, eq=False)
class Dropped:
    """Which numbers are dropped, by a seed and a number's place; the others are divided by what is kept of all."""

    laid_out: DropoutLayout

    @classmethod
    def drawn(cls, p: float) -> "Dropped":
        """Return a decision by PyTorch's global generator to drop each number with probability ``p`` in [0, 1)."""
        seed = int(torch.empty((), dtype=torch.int64, device="cpu").random_())
        return cls(DropoutLayout(seed, min(round(p * _BITS), _BITS - 1) - _BITS // 2, 1 / (1 - p)))


def dropout(x: Tensor, p: float, functions: InstructionSet) -> Tensor:
    """Return ``x``, float32 on the CPU, with each number dropped with probability ``p`` in [0, 1), the others larger.

    What is dropped is drawn from PyTorch's global generator, by one number a call. Nothing of ``x`` is kept for the
    gradient.
    """
    kept: Tensor = _Dropout.apply(x, Dropped.drawn(p), functions)
    return kept


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: Dropped, functions: InstructionSet) -> Tensor:
        ctx.told = dropped, functions
        x = x.contiguous()
        kept = torch.empty_like(x)
        functions.dropout(x.data_ptr(), kept.data_ptr(), x.numel(), byref(dropped.laid_out), torch.get_num_threads())
        return kept

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Dropout.apply(grads[0], *ctx.told), None, None
