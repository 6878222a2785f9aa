"""Products with packed 8-bit weights; inputs are quantized row by row, to 8 or 16 bits, during the product."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels.arrays import Floats
from bertie.kernels.gemm import Allocate, PackedLinear, pack_panels
from bertie.kernels.library import InstructionSet
from bertie.memory import anonymous_pages

# the largest depth for which sums of 255 · 127 cannot overflow 32 bits
MAX_DEPTH_INT8 = (2**31 - 1) // (255 * 127)


class QuantParams(NamedTuple):
    """How a row is quantized: ``round(x * smooth / scale) + zero_point``, with scale the row's range times ``step``.

    With 8 bits, the range spans the row's minimum, its maximum and 0, and integers are in [0, 255]; with 16 bits, the
    range is symmetric and the zero point 0.
    """

    bits: int
    step: float
    smooth: Floats | None = None


def params_8_bits(smooth: Floats | None = None) -> QuantParams:
    """Return the parameters for 8 bits; one step is spare, since rounding may exceed the range at either end."""
    return QuantParams(8, 1 / (2**8 - 2), smooth)


def params_16_bits(weight: NDArray[np.int8], smooth: Floats | None = None) -> QuantParams:
    """Return the finest 16-bit parameters for which no sum of products with ``weight [out, in]`` can overflow."""
    largest_sum = max(1, int(np.abs(weight, dtype=np.int32).sum(1).max(initial=0)))
    return QuantParams(16, 0.5 / min(2**15 - 1, (2**31 - 1) // largest_sum), smooth)


class Int8PackedWeight(PackedLinear):
    """Int8 weights ``[out, in]`` with a scale a row, packed as ``[out / panel_width, steps, panel_width, 4 or 2]``.

    A step takes 4 inputs of 8 bits or 2 of 16. Inputs are quantized row by row, so that results do not depend on the
    batch here either.
    """

    def __init__(
        self,
        weight: NDArray[np.int8],
        scale: Floats,
        bias: Floats,
        params: QuantParams,
        instruction_set: InstructionSet,
        allocate: Allocate = anonymous_pages,
        threads: int = 1,
    ) -> None:
        columns, depth = weight.shape
        check_int8_depth(depth)
        if params.bits == 8 and not instruction_set.multiplies_bytes:
            raise InputError(f"Inputs of 8 bits need VNNI or sdot, which {instruction_set.name} lacks; use 16 bits.")
        padding, inputs_per_step = -columns % instruction_set.panel_width, 32 // params.bits
        padded = np.pad(weight, ((0, 0), (0, -depth % inputs_per_step))) if depth % inputs_per_step else weight
        steps = np.ascontiguousarray(padded).view(np.int32 if inputs_per_step == 4 else np.int16)
        super().__init__(
            instruction_set,
            pack_panels(steps, instruction_set, allocate, threads),
            bias,
            scale=np.pad(np.asarray(scale, np.float32), (0, padding)),
            sums=np.pad(weight.sum(1, dtype=np.int32), (0, padding)),
            smooth=None if params.smooth is None else np.ascontiguousarray(params.smooth, np.float32),
            depth=depth,
            columns=columns,
            input_bits=params.bits,
            input_step=params.step,
        )


def check_int8_depth(depth: int) -> None:
    """Refuse a layer whose sums might overflow."""
    if depth > MAX_DEPTH_INT8:
        raise InputError(
            f"A layer of {depth} inputs cannot be int8: sums of more than {MAX_DEPTH_INT8} products may overflow; keep "
            "the model in floating point."
        )
