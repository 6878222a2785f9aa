"""Layers with 8-bit weights, as in quantized checkpoints, whose inputs are quantized during inference."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.capture import is_intercepted
from bertie.engine.linear import Int8Weight, dense
from bertie.errors import InputError
from bertie.kernels import library
from bertie.kernels.arrays import temporary_memory
from bertie.kernels.gemm_int8 import check_int8_depth

LARGEST = 127


class Int8Linear(nn.Module):
    """``y = (x · input_scale) Wᵀ + bias`` with ``W = weight · weight_scale[:, None]``: ``[T, in]`` to ``[T, out]``.

    Parameters, none of them trainable: ``weight`` int8 ``[out, in]`` and ``weight_scale`` ``[out]``; ``bias`` ``[out]``
    and ``input_scale`` ``[in]`` may be None. Each row of inputs is quantized within its own range to ``input_bits``:
    8, or 16, which is also used on processors that cannot multiply 8 bits.

    On a CPU with kernels, weights are packed for every call, which takes about as long as the product of a short text;
    pipelines made from a folder pack them once. Elsewhere, and while a graph is captured, weights are dequantized.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        input_scale: bool = False,
        input_bits: int = 8,
    ) -> None:
        super().__init__()
        check_int8_depth(in_features)
        self.in_features, self.out_features, self.input_bits = in_features, out_features, input_bits
        self.weight = _constant(torch.zeros(out_features, in_features, dtype=torch.int8))
        self.weight_scale = _constant(torch.ones(out_features))
        self.bias = _constant(torch.zeros(out_features)) if bias else None
        self.input_scale = _constant(torch.ones(in_features)) if input_scale else None
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            raise InputError(CANNOT_BE_TRAINED)
        if not is_intercepted() and self.has_kernel() and x.is_cpu and x.numel() > 0 and type(x) is Tensor:
            return self._product(x)
        weight = self.weight.to(x.dtype) * self.weight_scale.to(x.dtype)[:, None]
        return F.linear(x if self.input_scale is None else x * self.input_scale, weight, self.bias)

    def has_kernel(self) -> bool:
        """Whether the product is computed with integers, by bertie's kernel."""
        return library.best() is not None and self.weight.is_cpu

    def explain(self) -> str:
        if self.has_kernel():
            precise = "inputs of 16 bits, " if self.input_bits == 16 else ""
            return f"bertie's kernel for 8-bit integers, {precise}the weights packed for every product"
        return "PyTorch's product with dequantized weights"

    def as_arrays(self) -> Int8Weight:
        """Return the weight and the quantization of inputs, for the engine."""
        smooth = self.input_scale
        return Int8Weight(
            self.weight.numpy(),
            self.weight_scale.float().numpy(),
            None if smooth is None else smooth.float().numpy(),
            self.input_bits,
        )

    def _product(self, x: Tensor) -> Tensor:
        bias = self.weight_scale.new_zeros(self.out_features) if self.bias is None else self.bias
        rows = x.detach().float().reshape(-1, self.in_features).numpy()
        threads = torch.get_num_threads()
        product = dense(self.as_arrays(), bias.float().numpy(), temporary_memory, threads)(rows, threads=threads)
        return torch.from_numpy(product).view(*x.shape[:-1], self.out_features).to(x.dtype)

    def train(self, mode: bool = True) -> "Int8Linear":
        if mode:
            raise InputError(CANNOT_BE_TRAINED)
        return super().train(mode)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Int8Embedding(nn.Module):
    """A table with ``weight`` int8 ``[V, D]`` and ``weight_scale`` ``[V]``: ids of any shape to ``[…, D]``."""

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


CANNOT_BE_TRAINED = (
    "An int8 model cannot be trained; train the floating-point model, or what bertie.dequantize makes of this one, "
    "then quantize it again."
)


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
