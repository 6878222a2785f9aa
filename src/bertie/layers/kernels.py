"""How a linear layer can be computed at run time, which way suits the chip, and why not the others.

A kernel prepares a weight once; what it returns is called for every batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.kernels import library
from bertie.kernels.gemm import PackedWeight
from bertie.layers import operators
from bertie.layers.activations import Activation, activate_
from bertie.layers.chip import chip
from bertie.layers.int8 import Int8Linear
from bertie.layers.int8_products import Int8Native, Int8Product, side_by_side
from bertie.layers.panels import InPanels


class Weights(NamedTuple):
    """What is asked of a kernel: the kind of weights, and how they are used.

    ``deterministic``: a row's answer may not depend on the rows beside it. ``threads``: how many share one product.
    """

    device: str
    dtype: torch.dtype
    deterministic: bool = False
    threads: int = 1


class Prepared(Protocol):
    """One weight, or several side by side, in the layout of a kernel: ``[T, in]`` to ``[T, out]``."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        """Return ``activation(self(x))``."""

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return ``self(x) + residual``."""


class Kernel(Protocol):
    """One way to compute linear layers."""

    @property
    def name(self) -> str: ...

    @property
    def takes(self) -> type[nn.Module]:
        """The layers whose weights it prepares."""

    def why_not(self, weights: Weights) -> list[str]:
        """Return every reason for which such weights cannot be computed; an empty list means that they can."""

    def why_slower(self, weights: Weights) -> list[str]:
        """Return why another kernel is expected to be faster on this chip: the table of decision 24."""

    def prepare(self, modules: Sequence[nn.Module]) -> Prepared:
        """Return the prepared weights of layers that read one input, side by side."""


class Native:
    """bertie's own products over weights in panels, with bias, GELU and residual added on the way.

    A product of few rows takes as long as its weights need from memory; that of many is about as fast as MKL's.
    """

    name = "native"
    takes = nn.Linear

    def why_not(self, weights: Weights) -> list[str]:
        if weights.device != "cpu":
            return [f"it runs on the CPU, not on {weights.device}"]
        if weights.dtype != torch.float32:
            return [f"it takes float32, not {weights.dtype}"]
        return [why] if (why := library.why_none()) else []

    def why_slower(self, weights: Weights) -> list[str]:  # noqa: ARG002
        return [] if chip().avx2 else [f"no one measured it on {chip()}"]

    def prepare(self, modules: Sequence[Any]) -> Prepared:
        instruction_set = library.best()
        assert instruction_set is not None
        weight, bias = (each.detach().numpy() for each in _joined(modules))
        return InPanels(PackedWeight(weight, bias, instruction_set))


class OneDNN:
    """Weights that oneDNN packs for its own products, with bias, GELU and residual added on the way."""

    name = "onednn"
    takes = nn.Linear

    def why_not(self, weights: Weights) -> list[str]:
        reasons = []
        if weights.device != "cpu":
            reasons.append(f"it runs on the CPU, not on {weights.device}")
        elif weights.dtype not in (torch.float32, torch.bfloat16):
            reasons.append(f"it takes float32 and bfloat16, not {weights.dtype}")
        elif not operators.packing_works(weights.dtype):
            reasons.append(f"PyTorch {torch.__version__} has no packed {weights.dtype} products here")
        return reasons

    def why_slower(self, weights: Weights) -> list[str]:
        if weights.dtype != torch.float32 or (chip().amd and chip().avx512):  # MKL leaves AMD's AVX-512 unused
            return []
        if not chip().amd:
            return [f"MKL's products are as fast on {chip()}"]
        # measured with AVX2: MKL lays the weights out anew for every product, which takes as long as a short text
        return [] if weights.threads > 1 else ["MKL's products of many rows are as fast in one thread"]

    def prepare(self, modules: Sequence[Any]) -> Prepared:
        weight, bias = _joined(modules)
        return _Packed(operators.pack(weight), bias)


class NativeInt8:
    """bertie's own products of 8-bit integers, which round their inputs and give floats in one go."""

    name = "int8-native"
    takes: ClassVar[type[nn.Module]] = Int8Linear

    def why_not(self, weights: Weights) -> list[str]:
        if weights.dtype != torch.int8:
            return [f"it takes int8, not {weights.dtype}"]
        if weights.device != "cpu":
            return [f"it runs on the CPU, not on {weights.device}"]
        instruction_set = library.best()
        if instruction_set is None:
            return [library.why_none()]
        return [] if instruction_set.has_vnni else ["the processor has no AVX-512 VNNI"]

    def why_slower(self, weights: Weights) -> list[str]:  # noqa: ARG002
        return [] if chip().vnni else [f"no one measured it on {chip()}"]

    def prepare(self, modules: Sequence[nn.Module]) -> Prepared:
        instruction_set = library.best()
        assert instruction_set is not None
        return side_by_side(modules, lambda layers: Int8Native(layers, instruction_set))


@dataclass(frozen=True)
class Int8:
    """Products of 8-bit integers by one of PyTorch's engines: x86 without VNNI, onednn with it."""

    engine: str
    takes: ClassVar[type[nn.Module]] = Int8Linear

    @property
    def name(self) -> str:
        return f"int8-{self.engine}"

    def why_not(self, weights: Weights) -> list[str]:
        reasons = []
        if weights.dtype != torch.int8:
            reasons.append(f"it takes int8, not {weights.dtype}")
        elif weights.device != "cpu":
            reasons.append(f"it runs on the CPU, not on {weights.device}")
        elif not operators.int8_works(self.engine):
            reasons.append(f"PyTorch {torch.__version__} has no such products here")
        elif self.engine == "onednn" and weights.deterministic:
            reasons.append("a row's rounding depends on the rows beside it")
        return reasons

    def why_slower(self, weights: Weights) -> list[str]:  # noqa: ARG002
        best = operators.int8_engine(chip().vnni)
        return [] if self.engine == best else [f"{best}'s products are faster on {chip()}"]

    def prepare(self, modules: Sequence[nn.Module]) -> Prepared:
        return side_by_side(modules, lambda layers: Int8Product(layers, self.engine, chip().vnni))


class Plain:
    """The module as it is: MKL's or cuBLAS's product over the parameter itself, without a copy of it."""

    name = "plain"
    takes = nn.Module

    def why_not(self, weights: Weights) -> list[str]:
        if weights.deterministic and weights.device == "cpu":
            return ["a row's last bits depend on how many rows are computed with it"]
        return []

    def why_slower(self, weights: Weights) -> list[str]:  # noqa: ARG002
        return []

    def prepare(self, modules: Sequence[nn.Module]) -> Prepared:
        raise NotImplementedError("A plain module needs no view: it is called.")


PLAIN = Plain()
KERNELS: tuple[Kernel, ...] = (Native(), OneDNN(), NativeInt8(), Int8("x86"), Int8("onednn"), PLAIN)


@lru_cache(maxsize=64)
def choose(weights: Weights) -> Kernel | None:
    """Return the first kernel that the table has no objection to, or None if none can take such weights."""
    able = [kernel for kernel in KERNELS if not kernel.why_not(weights)]
    if weights.deterministic:
        return able[0] if able else None
    return next((kernel for kernel in able if not kernel.why_slower(weights)), None)


def explain(weights: Weights, kernels: Sequence[Kernel] = KERNELS) -> str:
    """Return one line a kernel: chosen, able, or every objection it has."""
    chosen, lines = choose(weights), []
    for kernel in kernels:
        objections = kernel.why_not(weights) or kernel.why_slower(weights)
        verdict = "chosen" if kernel is chosen else "; ".join(objections) or "able, not needed"
        lines.append(f"{kernel.name:<11}  {verdict}")
    return "\n".join(lines)


def _joined(modules: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Return weight and bias of layers side by side."""
    weight = torch.cat([module.weight for module in modules]) if len(modules) > 1 else modules[0].weight
    biases = [module.weight.new_zeros(len(module.weight)) if module.bias is None else module.bias for module in modules]
    return weight, torch.cat(biases)


@dataclass(frozen=True, eq=False)
class _Packed:
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return operators.packed_linear(x, self.weight, self.bias)

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        if activation is F.gelu and chip().avx512:  # oneDNN's GELU is slower than PyTorch's on AVX2
            return operators.packed_linear(x, self.weight, self.bias, gelu=True)
        return activate_(self(x), activation)

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        return operators.packed_linear_add(x, self.weight, self.bias, residual)
