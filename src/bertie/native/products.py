"""Products of rows with weights in panels: floats, and 8-bit integers; bias, GELU and residual are added on the way."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.errors import InputError
from bertie.memory import own_pages
from bertie.native.attention import check_floats
from bertie.native.library import InstructionSet

# the most inputs of an 8-bit product, whose sums of 255 · 127 are kept in 32 bits
DEEPEST_INT8 = (2**31 - 1) // (255 * 127)
# what follows a product: product.h
NOTHING, GELU, RESIDUAL = 0, 1, 2


class Panels:
    """Weights ``[out, in]`` in float32 as ``[out / width, in, width]``, zeros behind the last column.

    A row's answer is bitwise its own, however many rows are computed and by how many threads.
    """

    def __init__(self, weight: Tensor, bias: Tensor, functions: InstructionSet) -> None:
        self.functions, self.bias = functions, bias.contiguous()
        self.columns, self.depth = weight.shape
        self.panels = _laid_out(_in_panels(weight, functions.width).transpose(1, 2))

    def __call__(self, x: Tensor, after: int = NOTHING, residual: Tensor | None = None) -> Tensor:
        """Return ``x [T, in]`` times the weights plus the bias, then through GELU or plus ``residual [T, out]``."""
        x, panels = x.contiguous(), self.panels  # held: another thread may move them
        residual = None if residual is None else residual.contiguous()
        _check(x, self.depth, residual, self.columns)
        y = x.new_empty(len(x), self.columns)
        self.functions.product(
            x.data_ptr(),
            panels.data_ptr(),
            self.bias.data_ptr(),
            None if residual is None else residual.data_ptr(),
            y.data_ptr(),
            len(x),
            x.shape[1],
            self.columns,
            after,
            torch.get_num_threads(),
        )
        return y


class Rounding(NamedTuple):
    """How a row becomes integers: ``round(x * smooth / divisor / scale) + zero_point`` in [0, 255].

    The divisor is the row's largest magnitude, or, ``one_sided``, its largest number, but no less than ``at_least``.
    """

    scale: float
    zero_point: int
    one_sided: bool
    at_least: float
    smooth: Tensor | None = None


class Int8Panels:
    """Weights int8 ``[out, in]`` with a scale for each row, as ``[out / width, in / 4, width, 4]``.

    Inputs are rounded row by row, so a row's answer is bitwise its own here too.
    """

    def __init__(
        self, weight: Tensor, scale: Tensor, bias: Tensor, rounding: Rounding, functions: InstructionSet
    ) -> None:
        check_int8_depth(weight.shape[1])
        self.functions, self.rounding = functions, rounding
        self.columns, self.depth = weight.shape
        beyond = -len(weight) % functions.width
        fours = _in_panels(F.pad(weight, (0, -weight.shape[1] % 4)), functions.width).unflatten(2, (-1, 4))
        self.panels = _laid_out(fours.transpose(1, 2))
        self.scale = F.pad(scale, (0, beyond))
        self.shift = F.pad(weight.sum(1, dtype=torch.int32) * rounding.zero_point, (0, beyond))
        self.bias = bias.contiguous()

    def __call__(self, x: Tensor, after: int = NOTHING, residual: Tensor | None = None) -> Tensor:
        """Return ``x [T, in]`` times the weights plus the bias, then through GELU or plus ``residual [T, out]``."""
        x, panels = x.contiguous(), self.panels
        residual = None if residual is None else residual.contiguous()
        _check(x, self.depth, residual, self.columns)
        how, (rows, depth) = self.rounding, x.shape
        y = x.new_empty(rows, self.columns)
        rounded = x.new_empty(rows, depth + -depth % 4, dtype=torch.uint8)
        row_scales = x.new_empty(rows)
        self.functions.int8_product(
            x.data_ptr(),
            None if how.smooth is None else how.smooth.data_ptr(),
            panels.data_ptr(),
            self.scale.data_ptr(),
            self.shift.data_ptr(),
            self.bias.data_ptr(),
            None if residual is None else residual.data_ptr(),
            y.data_ptr(),
            rounded.data_ptr(),
            row_scales.data_ptr(),
            rows,
            depth,
            self.columns,
            after,
            how.scale,
            how.zero_point,
            how.one_sided,
            how.at_least,
            torch.get_num_threads(),
        )
        return y


def check_int8_depth(depth: int) -> None:
    """Refuse a layer whose sums would not fit.

    Raises:
        InputError: it has more than `DEEPEST_INT8` inputs.
    """
    if depth > DEEPEST_INT8:
        raise InputError(
            f"A layer of {depth} inputs cannot be int8: sums of more than {DEEPEST_INT8} products overflow; leave the "
            "model in floating point."
        )


def _check(x: Tensor, depth: int, residual: Tensor | None, columns: int) -> None:
    check_floats((depth,), x)
    if residual is not None:
        check_floats((len(x), columns), residual)


def _laid_out(panels: Tensor) -> Tensor:
    memory = torch.from_numpy(own_pages(panels.nbytes)).view(panels.dtype).view(panels.shape)
    return memory.copy_(panels)


def _in_panels(weight: Tensor, width: int) -> Tensor:
    """``[out, in]`` as ``[out / width, width, in]``."""
    return F.pad(weight, (0, 0, 0, -len(weight) % width)).unflatten(0, (-1, width))
