"""Products with packed weights, with bias and activation or residual fused, and products of unpacked matrices."""

import math
from collections.abc import Callable
from ctypes import byref
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels.arrays import Floats, Numbers, check_float32, check_numbers, check_returned, empty
from bertie.kernels.library import InstructionSet, MatmulStruct, PackedWeightStruct, WeightGradientStruct
from bertie.memory import anonymous_pages

# returns this many bytes, aligned to at least 4
Allocate: TypeAlias = Callable[[int], NDArray[np.uint8]]
# epilogues of a product, as in activations.h
NONE, GELU, RESIDUAL, GELU_10, GELU_TANH, HARDSWISH, LAPLACE, LEAKY_RELU = range(8)
MISH, QUICK_GELU, RELU, RELU2, RELU6, SIGMOID, SILU, TANH = range(8, 16)


class PackedLinear:
    """A linear layer with weights packed in ``panels``, by `PackedWeight` or `Int8PackedWeight`.

    A row's result is bitwise the same however many rows are computed and by however many threads.
    """

    def __init__(self, instruction_set: InstructionSet, panels: NDArray[Any], bias: Floats, **fields: Any) -> None:
        """Fill the C structure; its other ``fields`` are numbers, or arrays, which are kept alive."""
        fields |= {"panels": panels, "bias": np.ascontiguousarray(bias, np.float32)}
        self.instruction_set, self.panels = instruction_set, panels
        self.in_features, self.out_features = fields["depth"], fields["columns"]
        self.struct = PackedWeightStruct(**{name: _value(field) for name, field in fields.items()})
        self.struct.arrays = fields

    def __call__(self, x: Floats, epilogue: int = NONE, residual: Floats | None = None, *, threads: int) -> Floats:
        """Return ``x [T, in]`` times the weights plus the bias, then the activation, or plus ``residual [T, out]``."""
        if epilogue == RESIDUAL and residual is None:
            raise InputError("A product with the epilogue RESIDUAL needs a residual.")
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


# from slices.h, the inputs and columns of a group of tiles, and its bytes; from linear.h, the `input_bits` of slices
SLICED_INPUTS, SLICED_COLUMNS, GROUP_BYTES, SLICED = 128, 16, 16 * 128 * 3, 24


class PackedWeight(PackedLinear):
    """Float32 weights ``[out, in]``, packed as ``[out / panel_width, in, panel_width]`` or as slices (slices.h)."""

    def __init__(
        self,
        weight: Floats,
        bias: Floats,
        instruction_set: InstructionSet,
        allocate: Allocate = anonymous_pages,
        threads: int = 1,
    ) -> None:
        columns, depth = weight.shape
        weight = np.ascontiguousarray(weight, np.float32)
        if instruction_set.pack_slices is None:
            panels, fields = pack_panels(weight, instruction_set, allocate, threads), {}
        else:
            panels, scale = slice_weights(weight, instruction_set, allocate, threads)
            fields = {"scale": scale, "input_bits": SLICED}
        super().__init__(instruction_set, panels, bias, depth=depth, columns=columns, **fields)


def pack_panels(
    weight: NDArray[Any], instruction_set: InstructionSet, allocate: Allocate, threads: int
) -> NDArray[Any]:
    """Return elements of 4 or 2 bytes ``[out, in]`` as ``[out / width, in, width]``, zero-padded."""
    weight = np.ascontiguousarray(weight)
    columns, depth = weight.shape
    shape = (-(-columns // instruction_set.panel_width), depth, instruction_set.panel_width)
    panels = allocate(weight.itemsize * math.prod(shape)).view(weight.dtype).reshape(shape)
    instruction_set.pack(weight.ctypes.data, columns, depth, weight.itemsize, panels.ctypes.data, threads)
    return panels


def slice_weights(
    weight: Floats, instruction_set: InstructionSet, allocate: Allocate, threads: int
) -> tuple[NDArray[np.uint8], Floats]:
    """Return weights ``[out, in]`` packed as slices, and the slices' scales."""
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

    Either may be a transposed view; for sums, ``a`` must be one. A row's result is bitwise the same however many rows
    are computed and by however many threads.
    """
    a, b = _with_unit_stride(a), _with_unit_stride(b)
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
        raise InputError("The kernel sums the rows of transposed matrices only.")
    strides = [each.strides[int(flag)] // each.itemsize for each, flag in zip((a, b), transposed, strict=True)]
    addresses = (None if each is None else each.ctypes.data for each in (a, b, bias, c, sums))
    struct = MatmulStruct(*addresses, rows, depth, columns, *strides, columns, *transposed)
    check_returned(instruction_set.matmul(byref(struct), threads), rows)
    return c, sums


def _with_unit_stride(x: Floats) -> Floats:
    """Return a matrix that is contiguous along one of its dimensions, copied if it was not."""
    return x if x.itemsize in x.strides else np.ascontiguousarray(x)


def weight_gradient(dy: Numbers, x: Numbers, instruction_set: InstructionSet, *, threads: int) -> Floats:
    """Return ``dyᵀ x [out, in]`` in float32, for ``dy [T, out]`` and ``x [T, in]`` in bfloat16."""
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    (rows, columns), depth = dy.shape, x.shape[1]
    if not (check_numbers((rows, columns), dy) and check_numbers((rows, depth), x)):
        raise InputError("The weight-gradient kernel takes bfloat16.")
    dw = empty(columns, depth)
    if not rows:
        dw[...] = 0
    struct = WeightGradientStruct(dy.ctypes.data, x.ctypes.data, dw.ctypes.data, rows, columns, depth)
    check_returned(instruction_set.weight_gradient(byref(struct), threads), rows)
    return dw


def _value(field: Any) -> Any:
    return field.ctypes.data if isinstance(field, np.ndarray) else field
