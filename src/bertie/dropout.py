"""Dropout on a CPU, where PyTorch's own draws its random numbers in one thread, 7 ns each.

bertie's kernels hash where a number stands; without them, or for other dtypes, four decisions share a random number.
"""

from typing import Any

from bertie.extras import need_torch

need_torch(__name__)

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.capture import is_intercepted, is_tracing
from bertie.kernels import library
from bertie.kernels.dropout import drop_params
from bertie.kernels.dropout import dropout as kernel
from bertie.kernels.library import DropoutStruct, InstructionSet

# A decision compares 16 random bits.
_STEPS = 2**16


class Dropout(nn.Dropout):
    """``torch.nn.Dropout`` by another generator: the same probabilities, other draws."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training and self.p > 0 else x


def dropout(x: Tensor, p: float) -> Tensor:
    """Return ``x`` with each number set to 0 with probability ``p``, the others divided by 1 - p; p to 1 in 65,536.

    The draws are those of PyTorch's global generator. Where ``x`` is not on a CPU, and while a graph is captured, this
    is PyTorch's own dropout.
    """
    dropped = round(p * _STEPS)
    if x.device.type != "cpu" or is_tracing() or not 0 < dropped < _STEPS:
        return F.dropout(x, p)
    instruction_set = library.best()
    if instruction_set is not None and x.dtype == torch.float32 and type(x) is Tensor and not is_intercepted():
        return hashed_dropout(x, p, instruction_set)
    return _Dropout.apply(x, dropped)


def hashed_dropout(x: Tensor, p: float, instruction_set: InstructionSet) -> Tensor:
    """Return ``x``, float32 on the CPU, with each number dropped with probability ``p`` in [0, 1), the others larger.

    Nothing of ``x`` is kept for the gradient.
    """
    return _HashedDropout.apply(x, drawn_params(p), instruction_set)


def drawn_params(p: float) -> DropoutStruct:
    """Return which numbers a seed drops, drawn by one number from PyTorch's global generator."""
    return drop_params(int(torch.empty((), dtype=torch.int64, device="cpu").random_()), p)


class _HashedDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, params: DropoutStruct, instruction_set: InstructionSet) -> Tensor:
        ctx.arguments = params, instruction_set
        return torch.from_numpy(kernel(x.detach().numpy(), *ctx.arguments, threads=torch.get_num_threads()))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _HashedDropout.apply(grads[0], *ctx.arguments), None, None


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        kept = _draw(x, dropped)
        ctx.save_for_backward(kept)
        ctx.scale = _STEPS / (_STEPS - dropped)
        return torch.mul(x, kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return torch.mul(grads[0], kept).mul(ctx.scale), None


def _draw(x: Tensor, dropped: int) -> Tensor:
    """Return which numbers stay, bool in the shape of ``x``."""
    count = x.numel()
    # None: up to the largest, so that all 64 bits are random
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    return (bits.view(torch.int16)[:count] >= dropped - _STEPS // 2).view(x.shape)
