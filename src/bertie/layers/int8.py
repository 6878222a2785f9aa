"""Layers whose weights are 8-bit integers: what a quantised checkpoint holds, and how their inputs are rounded.

A row of the input is divided by a number of its own before it is rounded, so that a token with large numbers beside it
keeps its precision. `bertie.layers.int8_products` computes their products.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.errors import InputError
from bertie.kernels.gemm_int8 import check_int8_depth

LARGEST = 127
# a row of zeros is divided by this
TINY = 1e-12


class Int8Linear(nn.Module):
    """``y = (x · input_scale) Wᵀ + bias`` with ``W = weight · weight_scale[:, None]``: ``[T, in]`` to ``[T, out]``.

    Parameters: ``weight`` int8 ``[out, in]`` and ``weight_scale`` ``[out]``; ``bias`` ``[out]``, ``input_scale``
    ``[in]`` and ``input_range`` ``[2]`` may be None. None of them can be trained.

    ``input_range`` is for inputs that come from a one-sided activation such as GELU: no number lies below its first,
    and a row whose largest number lies below its second is rounded as if it reached that.

    Raises:
        InputError: there are more inputs than 32-bit sums can hold.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        input_scale: bool = False,
        input_range: bool = False,
    ) -> None:
        super().__init__()
        check_int8_depth(in_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = _constant(torch.zeros(out_features, in_features, dtype=torch.int8))
        self.weight_scale = _constant(torch.ones(out_features))
        self.bias = _constant(torch.zeros(out_features)) if bias else None
        self.input_scale = _constant(torch.ones(in_features)) if input_scale else None
        self.input_range = _constant(torch.tensor([0.0, 1.0])) if input_range else None
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the product with the weights as numbers; `bertie.layers.linear` takes an integer product instead."""
        if torch.is_grad_enabled() and x.requires_grad:
            raise InputError(CANNOT_BE_TRAINED)
        weight = self.weight.to(x.dtype) * self.weight_scale.to(x.dtype)[:, None]
        return F.linear(x if self.input_scale is None else x * self.input_scale, weight, self.bias)

    def train(self, mode: bool = True) -> "Int8Linear":
        if mode:
            raise InputError(CANNOT_BE_TRAINED)
        return super().train(mode)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Int8Embedding(nn.Module):
    """A table of ``weight`` int8 ``[V, D]`` with ``weight_scale`` ``[V]``: ids of any shape to ``[…, D]``."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = _constant(torch.zeros(num_embeddings, embedding_dim, dtype=torch.int8))
        self.weight_scale = _constant(torch.ones(num_embeddings))
        self.training = False

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight) * F.embedding(ids, self.weight_scale[:, None])

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


CANNOT_BE_TRAINED = "An int8 model cannot be trained; train the floating-point model, then quantize it again."


@dataclass(frozen=True)
class Steps:
    """How numbers of a row in [-low, 1] become unsigned integers: ``round(number / scale) + zero_point``."""

    low: float
    bits: int

    @property
    def scale(self) -> float:
        return (1 + self.low) / (2**self.bits - 2)

    @property
    def zero_point(self) -> int:
        return round(self.low / self.scale)


def bits_of(one_sided: bool, vnni: bool) -> tuple[int, int]:
    """Return the bits of inputs and of weights.

    Without VNNI the processor adds two products in 16 bits, where two of 8 by 8 bits do not fit: one side gives up a
    bit. A one-sided input needs no bit for the sign and can spare one; otherwise it is the weights, which have a scale
    for each row.
    """
    if vnni:
        return 8, 8
    return (7, 8) if one_sided else (8, 7)


def halved(weight: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights of 8 bits as weights of 7, with their scale."""
    return (weight.float() / 2).round_().clamp_(-63, 63).to(torch.int8), scale * 2


def row_divisors(x: Tensor, input_range: tuple[float, float] | None) -> Tensor:
    """Return the number ``[T, 1]`` that brings each row of ``x`` into [-1, 1], or [first / second, 1] of a range."""
    if input_range is not None:
        return x.amax(dim=1, keepdim=True).clamp_(min=input_range[1])
    # both are vectorised, torch.aminmax over the last dimension is not: ten times as fast
    return torch.maximum(x.amax(dim=1, keepdim=True), -x.amin(dim=1, keepdim=True)).clamp_(min=TINY)


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
