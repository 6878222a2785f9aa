"""Linear layers of the engine: weights laid out once for this processor, or NumPy's product where no kernel can run."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.engine.activations import ACTIVATIONS, Array
from bertie.kernels import library
from bertie.kernels.gemm import NONE, Allocate, PackedWeight
from bertie.kernels.gemm_int8 import Int8PackedWeight, QuantParams, params_8_bits, params_16_bits
from bertie.memory import own_pages

# which of a layer's inputs or outputs
Kept: TypeAlias = NDArray[np.bool_] | slice
ALL = slice(None)


class Linear(Protocol):
    """``x [T, in]`` to ``[T, out]``, then activated or plus a residual ``[T, out]`` as the epilogue says."""

    in_features: int
    out_features: int

    def __call__(self, x: Array, epilogue: int = NONE, residual: Array | None = None, *, threads: int) -> Array: ...


class Int8Weight(NamedTuple):
    """A layer of a quantised checkpoint; `bertie.layers.int8.Int8Linear` says what its parts mean."""

    weight: NDArray[np.int8]  # [out, in]
    scale: Array  # [out]
    input_scale: Array | None  # [in]
    input_bits: int = 8  # to which inputs are rounded, at least

    def dequantized(self) -> Array:
        """Return the whole weight in float32."""
        numbers = self.weight * self.scale[:, None]
        return numbers if self.input_scale is None else numbers * self.input_scale

    def reads_like(self, other: "Int8Weight") -> bool:
        """Whether both round one input in one way, so that one product serves both."""
        if (self.input_scale is None) != (other.input_scale is None) or self.input_bits != other.input_bits:
            return False
        mine, others = self.input_scale, other.input_scale
        return mine is None or others is None or np.array_equal(mine, others)


def kept_part(weight: Array | Int8Weight, outputs: Kept, inputs: Kept) -> Array | Int8Weight:
    """Return a weight without the outputs and inputs that are not kept."""
    if not isinstance(weight, Int8Weight):
        return weight[outputs][:, inputs]
    smooth = weight.input_scale
    return weight._replace(
        weight=weight.weight[outputs][:, inputs],
        scale=weight.scale[outputs],
        input_scale=None if smooth is None else smooth[inputs],
    )


def dense(weight: Array | Int8Weight, bias: Array, allocate: Allocate = own_pages, threads: int = 1) -> Linear:
    """Return a linear layer as this processor computes it fastest; it is packed into allocated memory."""
    best = library.best()
    if isinstance(weight, Int8Weight):
        if best is not None:
            params = quant_params(weight, best.multiplies_bytes)
            return Int8PackedWeight(weight.weight, weight.scale, bias, params, best, allocate, threads)
        weight = weight.dequantized()
    return NumpyWeight(weight, bias) if best is None else PackedWeight(weight, bias, best, allocate, threads)


def side_by_side(
    weights: Sequence[Array | Int8Weight], biases: Sequence[Array], allocate: Allocate, threads: int
) -> Linear:
    """Return layers that read one input as one layer, whose outputs lie side by side."""
    whole = joined(weights)
    if whole is None:
        return SideBySide([dense(*each, allocate, threads) for each in zip(weights, biases, strict=True)])
    return dense(whole, np.concatenate(biases), allocate, threads)


def joined(weights: Sequence[Array | Int8Weight]) -> Array | Int8Weight | None:
    """Return the weights of layers that read one input as one of more outputs; None if one product can't serve all."""
    if len(weights) == 1:
        return weights[0]
    small = [each for each in weights if isinstance(each, Int8Weight)]
    if not small:
        return np.concatenate([np.asarray(each) for each in weights])
    if len(small) < len(weights) or not all(map(small[0].reads_like, small)):
        return None
    weight, scale = [each.weight for each in small], [each.scale for each in small]
    return small[0]._replace(weight=np.concatenate(weight), scale=np.concatenate(scale))


class NumpyWeight:
    """Weights ``[out, in]`` as they are, for NumPy's product."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = weight, bias
        self.out_features, self.in_features = weight.shape

    def __call__(self, x: Array, epilogue: int = NONE, residual: Array | None = None, *, threads: int) -> Array:
        del threads  # NumPy's product has its own
        y = x @ self.weight.T + self.bias
        return ACTIVATIONS[epilogue](y) if residual is None else y + residual


class SideBySide:
    """Several layers that read one input, each in its own way."""

    def __init__(self, layers: Sequence[Linear]) -> None:
        self.layers = layers
        self.out_features = sum(layer.out_features for layer in layers)
        self.in_features = layers[0].in_features

    def __call__(self, x: Array, epilogue: int = NONE, residual: Array | None = None, *, threads: int) -> Array:
        assert residual is None
        return np.concatenate([layer(x, epilogue, threads=threads) for layer in self.layers], axis=1)


def quant_params(weight: Int8Weight, multiplies_bytes: bool) -> QuantParams:
    """Return how the inputs of a layer are rounded: to 16 bits, as fast there, where none of 8 can be multiplied."""
    if multiplies_bytes and weight.input_bits == 8:
        return params_8_bits(weight.input_scale)
    return params_16_bits(weight.weight, weight.input_scale)


def rounds_bytes(layer: Linear) -> bool:
    """Whether a layer's inputs are rounded to 8 bits."""
    return isinstance(layer, Int8PackedWeight) and layer.struct.input_bits == 8
