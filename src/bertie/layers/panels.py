"""Weights packed for bertie's own kernels, floats or 8-bit integers, as every prepared weight is called."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.kernels.gemm import GELU, NONE, RESIDUAL, PackedLinear
from bertie.layers.activations import Activation, activate_


class InPanels:
    """``[T, in]`` to ``[T, out]``, computed in float32 and given back in the type of the input."""

    def __init__(self, packed: PackedLinear) -> None:
        self.packed = packed

    def __call__(self, x: Tensor) -> Tensor:
        return self._product(x, NONE)

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        return self._product(x, GELU) if activation is F.gelu else activate_(self(x), activation)

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        return self._product(x, RESIDUAL, residual)

    def _product(self, x: Tensor, epilogue: int, residual: Tensor | None = None) -> Tensor:
        added = None if residual is None else residual.detach().float().numpy()
        product = self.packed(x.detach().float().numpy(), epilogue, added, threads=torch.get_num_threads())
        return torch.from_numpy(product).to(x.dtype)
