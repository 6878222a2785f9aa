"""Weights laid out for bertie's own kernels, floats or 8-bit integers, as every prepared weight is called."""

import torch.nn.functional as F
from torch import Tensor

from bertie.layers.activations import Activation, activate_
from bertie.native import products
from bertie.native.products import Int8Panels, Panels


class InPanels:
    """``[T, in]`` to ``[T, out]``, computed in float32 and given back in the type of the input."""

    def __init__(self, panels: Panels | Int8Panels) -> None:
        self.panels = panels

    def __call__(self, x: Tensor) -> Tensor:
        return self.panels(x.float()).to(x.dtype)

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        if activation is F.gelu:
            return self.panels(x.float(), products.GELU).to(x.dtype)
        return activate_(self(x), activation)

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.panels(x.float(), products.RESIDUAL, residual.float()).to(x.dtype)
