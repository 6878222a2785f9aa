"""Dropout on a CPU, faster than PyTorch's, which draws random numbers in a single thread, 7 ns each.

bertie's kernels hash each element's index; without them, or for other dtypes, four elements share a random number.
"""

from typing import Any

from bertie.extras import need_torch

need_torch(__name__)

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.capture import is_intercepted, is_tracing
from bertie.kernels import library
from bertie.kernels.dropout import dropout as kernel
from bertie.kernels.dropout import dropout_params
from bertie.kernels.library import DropoutStruct, InstructionSet

# An element is dropped or kept by 16 random bits.
_STEPS = 2**16


class Dropout(nn.Dropout):
    """``torch.nn.Dropout`` with another generator: the same probabilities, other masks."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training and self.p > 0 else x


def dropout(x: Tensor, p: float) -> Tensor:
    """Return ``x`` with each element set to 0 with probability ``p``, the others divided by 1 - p.

    The probability is accurate to 1/65,536, and the mask is drawn from PyTorch's global generator. If ``x`` is not on a
    CPU, and while a graph is captured, this is PyTorch's own dropout.
    """
    dropped = round(p * _STEPS)
    if x.device.type != "cpu" or is_tracing() or not 0 < dropped < _STEPS:
        return F.dropout(x, p)
    instruction_set = library.best()
    if instruction_set is not None and x.dtype == torch.float32 and type(x) is Tensor and not is_intercepted():
        return hashed_dropout(x, p, instruction_set)
    return _Dropout.apply(x, dropped)


def hashed_dropout(x: Tensor, p: float, instruction_set: InstructionSet) -> Tensor:
    """Return the float32 CPU tensor ``x`` after dropout with probability ``p`` in [0, 1); no mask is stored."""
    return _HashedDropout.apply(x, draw_params(p), instruction_set)


def draw_params(p: float) -> DropoutStruct:
    """Return the parameters of a dropout whose seed is drawn from PyTorch's global generator."""
    return dropout_params(int(torch.empty((), dtype=torch.int64, device="cpu").random_()), p)


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
        kept = _draw_mask(x, dropped)
        ctx.save_for_backward(kept)
        ctx.scale = _STEPS / (_STEPS - dropped)
        return torch.mul(x, kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return torch.mul(grads[0], kept).mul(ctx.scale), None


def _draw_mask(x: Tensor, dropped: int) -> Tensor:
    """Return which elements are kept, bool in the shape of ``x``."""
    count = x.numel()
    # None: without an upper limit, so that all 64 bits are random
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    return (bits.view(torch.int16)[:count] >= dropped - _STEPS // 2).view(x.shape)
