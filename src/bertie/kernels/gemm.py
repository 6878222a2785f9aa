"""Products of rows with packed weights, bias, GELU and residual added on the way; and of matrices as they lie."""

import math
from collections.abc import Callable
from ctypes import byref
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels.arrays import Floats, Numbers, check_float32, check_numbers, check_returned, empty
from bertie.kernels.library import InstructionSet, MatmulStruct, PackedWeightStruct, WeightGradientStruct
from bertie.memory import own_pages

# returns memory of as many bytes, at an address that 4-byte numbers may have
Allocate: TypeAlias = Callable[[int], NDArray[np.uint8]]
# what follows a product, as in activations.h
NONE, GELU, RESIDUAL, GELU_10, GELU_TANH, HARDSWISH, LAPLACE, LEAKY_RELU = range(8)
MISH, QUICK_GELU, RELU, RELU2, RELU6, SIGMOID, SILU, TANH = range(8, 16)


class PackedLinear:
    """A linear layer whose weights lie in ``panels``; `PackedWeight` and `Int8PackedWeight` pack them.

    A row's answer is bitwise its own, however many rows are computed and by how many threads.
    """

    def __init__(self, instruction_set: InstructionSet, panels: NDArray[Any], bias: Floats, **fields: Any) -> None:
        """Keep the panels and what the structure's other ``fields`` say: numbers, or arrays whose address it holds."""
        fields |= {"panels": panels, "bias": np.ascontiguousarray(bias, np.float32)}
        self.instruction_set, self.panels = instruction_set, panels
        self.in_features, self.out_features = fields["depth"], fields["columns"]
        self.struct = PackedWeightStruct(**{name: _value(field) for name, field in fields.items()})
        self.struct.arrays = fields

    def __call__(self, x: Floats, epilogue: int = NONE, residual: Floats | None = None, *, threads: int) -> Floats:
        """Return ``x [T, in]`` times the weights plus the bias, then activated or plus ``residual [T, out]``."""
        if epilogue == RESIDUAL and residual is None:
            raise InputError("A product with the epilogue RESIDUAL takes a residual.")
        x, struct = np.ascontiguousarray(x), self.struct
        check_float32((self.in_features,), x)
        rows = len(x)
        if residual is not None:
            residual = np.ascontiguousarray(residual)
            check_float32((rows, self.out_features), residual)
        y = empty(rows, self.out_features)
        added = None if residual is None else residual.ctypes.data
        code = self.instruction_set.linear(byref(struct), x.ctypes.data, added, y.ctypes.data, rows, epilogue, threads)
        check_returned(code, rows)
        return y


# of slices.h: inputs and columns that share tiles, the tiles' bytes; of linear.h: what is in `input_bits`
SLICED_INPUTS, SLICED_COLUMNS, GROUP_BYTES, SLICED = 128, 16, 16 * 128 * 3, 24


class PackedWeight(PackedLinear):
    """Weights ``[out, in]`` in float32 as ``[out / panel_width, in, panel_width]``, or in the slices of slices.h."""

    def __init__(
        self,
        weight: Floats,
        bias: Floats,
        instruction_set: InstructionSet,
        allocate: Allocate = own_pages,
        threads: int = 1,
    ) -> None:
        columns, depth = weight.shape
        weight = np.ascontiguousarray(weight, np.float32)
        if instruction_set.pack_slices is None:
            panels, fields = in_panels(weight, instruction_set, allocate, threads), {}
        else:
            panels, scale = in_slices(weight, instruction_set, allocate, threads)
            fields = {"scale": scale, "input_bits": SLICED}
        super().__init__(instruction_set, panels, bias, depth=depth, columns=columns, **fields)


def in_panels(weight: NDArray[Any], instruction_set: InstructionSet, allocate: Allocate, threads: int) -> NDArray[Any]:
    """Return numbers of 4 or 2 bytes ``[out, in]`` as ``[out / width, in, width]``, zeros behind the last column."""
    weight = np.ascontiguousarray(weight)
    columns, depth = weight.shape
    shape = (-(-columns // instruction_set.panel_width), depth, instruction_set.panel_width)
    panels = allocate(weight.itemsize * math.prod(shape)).view(weight.dtype).reshape(shape)
    instruction_set.pack(weight.ctypes.data, columns, depth, weight.itemsize, panels.ctypes.data, threads)
    return panels


def in_slices(
    weight: Floats, instruction_set: InstructionSet, allocate: Allocate, threads: int
) -> tuple[NDArray[np.uint8], Floats]:
    """Return the slices of weights ``[out, in]`` in panels, and their scales."""
    columns, depth = weight.shape
    groups = -(-columns // SLICED_COLUMNS) * -(-depth // SLICED_INPUTS)
    panels = allocate(groups * GROUP_BYTES)
    scale = allocate(4 * groups * SLICED_COLUMNS).view(np.float32)
    instruction_set.pack_slices(weight.ctypes.data, columns, depth, panels.ctypes.data, scale.ctypes.data, threads)
    return panels, scale


def matmul(
    a: Floats,
    b: Floats,
    instruction_set: InstructionSet,
    bias: Floats | None = None,
    *,
    needs_sums: bool = False,
    threads: int,
) -> tuple[Floats, Floats | None]:
    """Return ``a [R, D]`` times ``b [D, C]`` plus ``bias [C]``, and on request the sums ``[R]`` of the rows of ``a``.

    Either may be the transposed view of a matrix; for its sums ``a`` must be. A row's answer is bitwise its own,
    however many rows are computed and by how many threads.
    """
    a, b = _as_it_lies(a), _as_it_lies(b)
    (rows, depth), columns = a.shape, b.shape[1]
    bias = None if bias is None else np.ascontiguousarray(bias)
    check_float32((rows, depth), a)
    check_float32((depth, columns), b)
    if bias is not None:
        check_float32((columns,), bias)
    c, sums = empty(rows, columns), np.zeros(rows, np.float32) if needs_sums else None
    if not depth:
        c[...] = 0 if bias is None else bias
    transposed = [each.strides[0] == each.itemsize for each in (a, b)]
    if needs_sums and not transposed[0]:
        raise InputError("The kernel sums the rows of a transposed matrix alone.")
    strides = [each.strides[int(is_so)] // each.itemsize for each, is_so in zip((a, b), transposed, strict=True)]
    addresses = (None if each is None else each.ctypes.data for each in (a, b, bias, c, sums))
    struct = MatmulStruct(*addresses, rows, depth, columns, *strides, columns, *transposed)
    check_returned(instruction_set.matmul(byref(struct), threads), rows)
    return c, sums


def _as_it_lies(x: Floats) -> Floats:
    """Return a matrix one of whose dimensions has its numbers side by side."""
    return x if x.itemsize in x.strides else np.ascontiguousarray(x)


def weight_gradient(dy: Numbers, x: Numbers, instruction_set: InstructionSet, *, threads: int) -> Floats:
    """Return ``dyᵀ x`` in float32, ``[out, in]``, of ``dy [T, out]`` and ``x [T, in]`` in bfloat16."""
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    (rows, columns), depth = dy.shape, x.shape[1]
    if not (check_numbers((rows, columns), dy) and check_numbers((rows, depth), x)):
        raise InputError("The kernel of weights' gradients takes bfloat16.")
    dw = empty(columns, depth)
    if not rows:
        dw[...] = 0
    struct = WeightGradientStruct(dy.ctypes.data, x.ctypes.data, dw.ctypes.data, rows, columns, depth)
    check_returned(instruction_set.weight_gradient(byref(struct), threads), rows)
    return dw


def _value(field: Any) -> Any:
    return field.ctypes.data if isinstance(field, np.ndarray) else field
