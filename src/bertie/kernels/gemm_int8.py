"""Products of rows with packed weights of 8-bit integers; the rows are rounded on the way."""

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
    """How a row becomes integers: ``round(x * smooth / divisor / scale) + zero_point`` in [0, 255].

    The divisor is the row's largest magnitude, or, ``one_sided``, its largest number, but no less than ``min_divisor``.
    """

    scale: float
    zero_point: int
    one_sided: bool
    min_divisor: float
    smooth: Floats | None = None


class Int8PackedWeight(PackedLinear):
    """Weights int8 ``[out, in]`` with a scale for each row, as ``[out / panel_width, in / 4, panel_width, 4]``.

    Inputs are rounded row by row, so a row's answer is bitwise its own here too.

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
        if not instruction_set.has_int8:
            raise InputError("The processor has no products of 8-bit integers (AVX-512 VNNI).")
        width = instruction_set.panel_width
        beyond = -columns % width
        fours = np.ascontiguousarray(np.pad(weight, ((0, 0), (0, -depth % 4))) if depth % 4 else weight).view(np.int32)
        super().__init__(
            instruction_set,
            in_panels(fours, instruction_set, allocate, threads).view(np.int8).reshape(-1, len(fours[0]), width, 4),
            bias,
            scale=np.pad(np.asarray(scale, np.float32), (0, beyond)),
            shift=np.pad(weight.sum(1, dtype=np.int32) * np.int32(params.zero_point), (0, beyond)),
            smooth=None if params.smooth is None else np.ascontiguousarray(params.smooth, np.float32),
            depth=depth,
            columns=columns,
            is_int8=True,
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
