"""PyTorch's private operators, all in this file: each is tried once, and its numbers checked, before it is trusted.

Whatever is missing or wrong in a version of PyTorch is not used; the plain product does its work.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Weights of 8 bits as fbgemm or oneDNN lay them out; opaque to PyTorch's users.
Int8Weight = Any


# Products over weights that oneDNN has packed.


def pack(weight: Tensor) -> Tensor:
    """Return ``weight [out, in]`` in the layout that oneDNN's products read fastest; it is opaque."""
    with torch.inference_mode(False), torch.no_grad():
        return torch.ops.mkldnn._reorder_linear_weight(weight.detach())


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor, gelu: bool = False) -> Tensor:
    """Return ``x [T, in]`` times the packed weight plus ``bias``, through the erf GELU if asked."""
    return torch.ops.mkldnn._linear_pointwise.default(
        x, packed, bias, "gelu" if gelu else "none", [], "none" if gelu else ""
    )


def packed_linear_add(x: Tensor, packed: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
    """Return ``packed_linear(x, packed, bias) + residual``, the sum made as the product is written."""
    return torch.ops.mkldnn._linear_pointwise.binary(x, residual, packed, bias, "add")


@lru_cache(maxsize=4)
def packing_works(dtype: torch.dtype) -> bool:
    """Whether oneDNN packs weights of this dtype here, and gets products, GELU and sums right."""

    def attempt() -> bool:
        x, weight, bias, residual = (tensor.to(dtype) for tensor in _sample())
        packed = pack(weight)
        plain = F.linear(x, weight, bias)
        return (
            _close(packed_linear(x, packed, bias), plain)
            and _close(packed_linear(x, packed, bias, gelu=True), F.gelu(plain))
            and _close(packed_linear_add(x, packed, bias, residual), plain + residual)
        )

    return torch.backends.mkldnn.is_available() and _works(attempt)


def gelu_(x: Tensor) -> Tensor:
    """Return ``F.gelu(x)`` in the memory of ``x``."""
    return torch.ops.aten.gelu_.default(x) if _gelu_works() else F.gelu(x)


@lru_cache(maxsize=1)
def _gelu_works() -> bool:
    def attempt() -> bool:
        x = _sample()[0]
        return torch.equal(torch.ops.aten.gelu_(x.clone()), F.gelu(x))

    return _works(attempt)


# Products of 8-bit integers.


def int8_engine(vnni: bool) -> str:
    """Return the engine whose 8-bit products are fastest with or without VNNI (measured: docs/benchmarks.md)."""
    return "onednn" if vnni else "x86"


def int8_pack(weight: Tensor, scale: Tensor, engine: str) -> Int8Weight:
    """Return ``weight`` (int8 ``[out, in]``) with its scale of each row (float32 ``[out]``) as ``engine`` reads it."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")  # torch.ao.quantization is deprecated; its operators are not
            zeros = torch.zeros(len(scale), dtype=torch.int64)
            rows = torch._make_per_channel_quantized_tensor(weight, scale.double(), zeros, 0)
            return torch.ops.quantized.linear_prepack(rows, None)
    finally:
        torch.backends.quantized.engine = before


def int8_linear(x: Tensor, packed: Int8Weight, reduce_range: bool) -> Tensor:
    """Return ``x [T, in]`` times the packed weight as float32; ``x`` is rounded by one scale for the whole call.

    ``reduce_range`` rounds it to 7 bits: without VNNI, two products of 8 by 8 bits do not fit their 16-bit sum.
    """
    return torch.ops.quantized.linear_dynamic(x, packed, reduce_range)


def int8_linear_fixed(x: Tensor, packed: Int8Weight, scale: float, zero_point: int) -> Tensor:
    """As ``int8_linear``, with ``x`` rounded to ``round(x / scale) + zero_point`` in 8 bits (engine x86 only).

    A row's answer does not depend on the rows beside it.
    """
    product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(x, scale, zero_point, packed)
    return product


@lru_cache(maxsize=4)
def int8_works(engine: str) -> bool:
    """Whether this engine is there, and its products are as close as 8 bits can be."""

    def attempt() -> bool:
        x, weight, *_ = _sample()
        scale = weight.abs().amax(dim=1) / 127
        packed = int8_pack(torch.round(weight / scale[:, None]).to(torch.int8), scale, engine)
        plain = F.linear(x, weight)
        found = [int8_linear(x, packed, True)]
        if engine == "x86":
            found.append(int8_linear_fixed(x, packed, float(x.abs().max()) / 63, 64))
        return all(bool((each - plain).norm() < 0.05 * plain.norm()) for each in found)

    return engine in torch.backends.quantized.supported_engines and _works(attempt)


def _sample() -> list[Tensor]:
    """Return ``x [5, 32]``, a weight ``[48, 32]``, its bias ``[48]`` and a residual ``[5, 48]``."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=draw) for shape in ((5, 32), (48, 32), (48,), (5, 48))]


def _close(found: Tensor, expected: Tensor) -> bool:
    tolerance = 1e-5 if expected.dtype == torch.float32 else 2e-2
    return torch.allclose(found.float(), expected.float(), rtol=tolerance, atol=tolerance * 10)


def _works(attempt: Callable[[], bool]) -> bool:
    try:
        with torch.inference_mode():
            return attempt()
    except (RuntimeError, AttributeError, NotImplementedError, TypeError):
        return False
