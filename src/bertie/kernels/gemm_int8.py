"""Products of rows with packed weights of 8-bit integers; the rows are rounded to 8 or 16 bits on the way."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels.arrays import Floats
from bertie.kernels.gemm import Allocate, PackedLinear, in_panels
from bertie.kernels.library import InstructionSet
from bertie.memory import own_pages

# the most inputs of an 8-bit product, whose sums of 255 · 127 are kept in 32 bits
MAX_DEPTH_INT8 = (2**31 - 1) // (255 * 127)


class QuantParams(NamedTuple):
    """How a row becomes integers: ``round(x * smooth / scale) + zero_point``, the scale being its range times ``step``.

    With 8 bits, the range reaches from the row's least number to its largest, 0 included, and integers lie in [0, 255];
    with 16 it is the same on both sides of 0, where the zero point is.
    """

    bits: int
    step: float
    smooth: Floats | None = None


def params_8_bits(smooth: Floats | None = None) -> QuantParams:
    """Return the rounding to 8 bits; either end of the range may be rounded beyond itself."""
    return QuantParams(8, 1 / (2**8 - 2), smooth)


def params_16_bits(weight: NDArray[np.int8], smooth: Floats | None = None) -> QuantParams:
    """Return the finest rounding to 16 bits for which no sum of products with ``weight [out, in]`` overflows."""
    largest_sum = max(1, int(np.abs(weight, dtype=np.int32).sum(1).max(initial=0)))
    return QuantParams(16, 0.5 / min(2**15 - 1, (2**31 - 1) // largest_sum), smooth)


class Int8PackedWeight(PackedLinear):
    """Weights int8 ``[out, in]`` with a scale for each row, as ``[out / panel_width, steps, panel_width, 4 or 2]``.

    A step takes 4 inputs of 8 bits, or 2 of 16. They are rounded row by row, so a row's answer is bitwise its own here
    too.
    """

    def __init__(
        self,
        weight: NDArray[np.int8],
        scale: Floats,
        bias: Floats,
        params: QuantParams,
        instruction_set: InstructionSet,
        allocate: Allocate = own_pages,
        threads: int = 1,
    ) -> None:
        columns, depth = weight.shape
        check_int8_depth(depth)
        if params.bits == 8 and not instruction_set.multiplies_bytes:
            raise InputError(
                f"Inputs of 8 bits need VNNI or sdot, which {instruction_set.name} is without; 16 bits do not."
            )
        beyond, together = -columns % instruction_set.panel_width, 32 // params.bits
        padded = np.pad(weight, ((0, 0), (0, -depth % together))) if depth % together else weight
        steps = np.ascontiguousarray(padded).view(np.int32 if together == 4 else np.int16)
        super().__init__(
            instruction_set,
            in_panels(steps, instruction_set, allocate, threads),
            bias,
            scale=np.pad(np.asarray(scale, np.float32), (0, beyond)),
            sums=np.pad(weight.sum(1, dtype=np.int32), (0, beyond)),
            smooth=None if params.smooth is None else np.ascontiguousarray(params.smooth, np.float32),
            depth=depth,
            columns=columns,
            input_bits=params.bits,
            input_step=params.step,
        )


def check_int8_depth(depth: int) -> None:
    """Refuse a layer whose sums would not fit."""
    if depth > MAX_DEPTH_INT8:
        raise InputError(
            f"A layer of {depth} inputs cannot be int8: sums of more than {MAX_DEPTH_INT8} products overflow; leave "
            "the model in floating point."
        )
