"""Products of rows with packed weights; bias, GELU and residual are added on the way."""

from ctypes import byref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels.arrays import Floats, check_float32, check_returned, empty
from bertie.kernels.library import InstructionSet, PackedWeightStruct
from bertie.memory import own_pages

# what follows a product, as in activations.h
NONE, GELU, RESIDUAL, GELU_10, GELU_TANH, HARDSWISH, LAPLACE, LEAKY_RELU = range(8)
MISH, QUICK_GELU, RELU, RELU2, RELU6, SIGMOID, SILU, TANH = range(8, 16)


class PackedLinear:
    """A linear layer whose weights lie in ``panels``; `PackedWeight` and `Int8PackedWeight` pack them.

    A row's answer is bitwise its own, however many rows are computed and by how many threads.
    """

    def __init__(self, instruction_set: InstructionSet, panels: NDArray[Any], bias: Floats, **fields: Any) -> None:
        """Keep the panels and what the structure's other ``fields`` say: numbers, or arrays whose address it holds."""
        self.instruction_set, self._bias, self._fields = instruction_set, np.ascontiguousarray(bias, np.float32), fields
        self.in_features, self.out_features = fields["depth"], fields["columns"]
        self.place(panels)

    def place(self, panels: NDArray[Any]) -> None:
        """Compute with ``panels``, equal ones in other memory, from now on; calls under way keep what they have."""
        fields = {"panels": panels, "bias": self._bias, **self._fields}
        struct = PackedWeightStruct(**{name: _value(field) for name, field in fields.items()})
        struct.arrays = fields
        self.panels, self.struct = panels, struct

    def __call__(self, x: Floats, epilogue: int = NONE, residual: Floats | None = None, *, threads: int) -> Floats:
        """Return ``x [T, in]`` times the weights plus the bias, then activated or plus ``residual [T, out]``.

        Args:
            epilogue: an activation's code, or NONE or RESIDUAL.

        Raises:
            InputError: the arrays are of another dtype or shape, or there is no residual to add.
        """
        if epilogue == RESIDUAL and residual is None:
            raise InputError("A product with the epilogue RESIDUAL takes a residual.")
        x, struct = np.ascontiguousarray(x), self.struct  # held: another thread may place the panels elsewhere
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


class PackedWeight(PackedLinear):
    """Weights ``[out, in]`` in float32 as ``[out / panel_width, in, panel_width]``, zeros behind the last column."""

    def __init__(self, weight: Floats, bias: Floats, instruction_set: InstructionSet) -> None:
        columns, depth = weight.shape
        panels = own_memory(in_panels(weight, instruction_set.panel_width).transpose(0, 2, 1))
        super().__init__(instruction_set, panels, bias, depth=depth, columns=columns)


def in_panels(weight: NDArray[Any], width: int) -> NDArray[Any]:
    """``[out, in]`` as ``[out / width, width, in]``."""
    padded = np.pad(weight, ((0, -len(weight) % width), (0, 0)))
    return padded.reshape(-1, width, weight.shape[1])


def own_memory(panels: NDArray[Any]) -> NDArray[Any]:
    """Return a copy in memory that goes back to the system when it is not needed any more."""
    memory = own_pages(panels.nbytes).view(panels.dtype).reshape(panels.shape)
    memory[...] = panels
    return memory


def _value(field: Any) -> Any:
    return field.ctypes.data if isinstance(field, np.ndarray) else field
