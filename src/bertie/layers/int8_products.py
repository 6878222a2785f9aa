"""Prepared weights of 8-bit integers: products by bertie's own kernel, or by one of PyTorch's engines."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from bertie.kernels.gemm_int8 import Int8PackedWeight, QuantParams
from bertie.kernels.library import InstructionSet
from bertie.layers import operators
from bertie.layers.activations import Activation, activate_
from bertie.layers.int8 import TINY, Int8Linear, Steps, bits_of, halved, row_divisors
from bertie.layers.panels import InPanels


class Int8Product:
    """The prepared weights of one layer, or of several that read one input in one way.

    Args:
        modules: layers whose ``input_scale`` and ``input_range`` are equal.
        engine: of PyTorch's 8-bit products, "x86" or "onednn".
        vnni: whether the processor has it.
    """

    def __init__(self, modules: Sequence[Int8Linear], engine: str, vnni: bool) -> None:
        first = modules[0]
        self.input_scale = None if first.input_scale is None else first.input_scale.detach().float()
        self.steps, self.input_range = _steps(first, vnni)
        weight, scale, self.bias = _joined(modules)
        if bits_of(self.input_range is not None, vnni)[1] == 7:
            weight, scale = halved(weight, scale)
        self.packed = operators.int8_pack(weight, scale, engine)
        self.fixed = engine == "x86"

    def __call__(self, x: Tensor) -> Tensor:
        found, divisors = self._product(x)
        return torch.addcmul(self.bias, found, divisors, out=found).to(x.dtype)

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        return activate_(self(x), activation)

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        found, divisors = self._product(x)
        return torch.addcmul(residual.float(), found, divisors, out=found).add_(self.bias).to(x.dtype)

    def _product(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the product without bias ``[T, out]`` of the divided rows, and the divisors ``[T, 1]``."""
        x = x.float()
        scaled = x if self.input_scale is None else x * self.input_scale
        divisors = row_divisors(scaled, self.input_range)
        # a product takes a quarter of a quotient's time; what was made here may be written over
        scaled = torch.mul(scaled, divisors.reciprocal(), out=None if scaled is x else scaled)
        if self.fixed:
            return operators.int8_linear_fixed(scaled, self.packed, self.steps.scale, self.steps.zero_point), divisors
        return operators.int8_linear(scaled, self.packed, reduce_range=self.steps.bits == 7), divisors


class Int8Native(InPanels):
    """The prepared weights of layers that read one input in one way, for bertie's own kernel: VNNI, 8 by 8 bits."""

    def __init__(self, modules: Sequence[Int8Linear], instruction_set: InstructionSet) -> None:
        weight, scale, bias = (each.detach().numpy() for each in _joined(modules))
        steps, limits = _steps(modules[0], vnni=True)
        smooth = modules[0].input_scale
        params = QuantParams(
            scale=steps.scale,
            zero_point=steps.zero_point,
            one_sided=limits is not None,
            min_divisor=TINY if limits is None else limits[1],
            smooth=None if smooth is None else smooth.detach().float().numpy(),
        )
        super().__init__(Int8PackedWeight(weight, scale, bias, params, instruction_set))


class Int8SideBySide:
    """Layers that read one input in different ways, one product each."""

    def __init__(self, products: Sequence[Int8Product | Int8Native]) -> None:
        self.products = products

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([product(x) for product in self.products], dim=-1)

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        return activate_(self(x), activation)

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        return self(x) + residual


def side_by_side(
    modules: Sequence[nn.Module], prepare: Callable[[Sequence[Int8Linear]], "Int8Product | Int8Native"]
) -> "Int8Product | Int8Native | Int8SideBySide":
    """Return the prepared weights of layers that read one input, each ``prepare``d with those that read it alike."""
    layers = cast(Sequence[Int8Linear], modules)
    if all(_alike(layers[0], layer) for layer in layers[1:]):
        return prepare(layers)
    return Int8SideBySide([prepare([layer]) for layer in layers])


def _alike(first: Int8Linear, other: Int8Linear) -> bool:
    return all(
        a is b or (a is not None and b is not None and torch.equal(a, b))
        for a, b in ((first.input_scale, other.input_scale), (first.input_range, other.input_range))
    )


def _steps(module: Int8Linear, vnni: bool) -> tuple[Steps, tuple[float, float] | None]:
    """Return how inputs are rounded, and the limits they are known to have."""
    low, top = (-1.0, 1.0) if module.input_range is None else module.input_range.tolist()
    steps = Steps(-low / top, bits_of(module.input_range is not None, vnni)[0])
    return steps, None if module.input_range is None else (low, top)


def _joined(modules: Sequence[Int8Linear]) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights int8, their scales and biases in float32 of all modules."""
    weight = torch.cat([module.weight for module in modules]) if len(modules) > 1 else modules[0].weight
    scale = torch.cat([module.weight_scale for module in modules]).float()
    return weight, scale, torch.cat([_bias(module) for module in modules]).float()


def _bias(module: Any) -> Tensor:
    return module.weight_scale.new_zeros(module.out_features) if module.bias is None else module.bias
