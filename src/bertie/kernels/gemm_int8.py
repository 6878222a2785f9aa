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
    """How a row becomes integers: ``round(x * smooth / divisor / scale) + zero_point``.

    The divisor is the row's largest magnitude, or, ``one_sided``, its largest number, but no less than ``min_divisor``.
    Integers of 8 bits lie in [0, 255], those of 16 between ``-1 / scale`` and ``1 / scale``.
    """

    scale: float
    zero_point: int
    one_sided: bool
    min_divisor: float
    smooth: Floats | None = None
    bits: int = 8


def params_16_bits(weight: NDArray[np.int8], min_divisor: float, smooth: Floats | None = None) -> QuantParams:
    """Return the finest rounding to 16 bits for which no sum of products with ``weight [out, in]`` overflows."""
    largest_sum = max(1, int(np.abs(weight, dtype=np.int32).sum(1).max(initial=0)))
    return QuantParams(1 / min(2**15 - 1, (2**31 - 1) // largest_sum), 0, False, min_divisor, smooth, bits=16)


class Int8PackedWeight(PackedLinear):
    """Weights int8 ``[out, in]`` with a scale for each row, as ``[out / panel_width, steps, panel_width, 4 or 2]``.

    A step takes 4 inputs of 8 bits, or 2 of 16. They are rounded row by row, so a row's answer is bitwise its own here
    too.

    Raises:
        InputError: the processor has no such products, or there are more inputs than 32-bit sums can hold.
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
        offset = instruction_set.byte_offset or 0 if params.bits == 8 else 0
        beyond, together = -columns % instruction_set.panel_width, 32 // params.bits
        padded = np.pad(weight, ((0, 0), (0, -depth % together))) if depth % together else weight
        steps = np.ascontiguousarray(padded).view(np.int32 if together == 4 else np.int16)
        super().__init__(
            instruction_set,
            in_panels(steps, instruction_set, allocate, threads),
            bias,
            scale=np.pad(np.asarray(scale, np.float32), (0, beyond)),
            shift=np.pad(weight.sum(1, dtype=np.int32) * np.int32(params.zero_point - offset), (0, beyond)),
            smooth=None if params.smooth is None else np.ascontiguousarray(params.smooth, np.float32),
            depth=depth,
            columns=columns,
            input_bits=params.bits,
            input_scale=params.scale,
            min_divisor=params.min_divisor,
            zero_point=params.zero_point,
            one_sided=params.one_sided,
        )


def check_int8_depth(depth: int) -> None:
    """Refuse a layer whose sums would not fit.

    Raises:
        InputError: it has more than `MAX_DEPTH_INT8` inputs.
    """
    if depth > MAX_DEPTH_INT8:
        raise InputError(
            f"A layer of {depth} inputs cannot be int8: sums of more than {MAX_DEPTH_INT8} products overflow; leave "
            "the model in floating point."
        )
