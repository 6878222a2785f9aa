"""Building an ONNX graph node by node; values are referred to by name."""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import bertie
from bertie.extras import need

# opset 20 introduced Gelu; ONNX Runtime 1.17, OpenVINO 2024 and onnxruntime-web 1.17 support it
OPSET, IR_VERSION = 20, 9
# ONNX's element types
FLOAT, INT64, BOOL = 1, 7, 9
# limit of a protobuf file; larger models keep their weights in a second file
MAX_BYTES = 2**31 - 2**20
# a node's output by name, or numbers that become a constant
Value: TypeAlias = "str | float | Sequence[int] | np.generic | NDArray[Any]"


class Graph:
    """Nodes, constants, inputs and outputs of a float32 graph."""

    def __init__(self) -> None:
        self._onnx = need("onnx", "onnx", "Exporting")
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self.outputs: list[str] = []  # their names
        self._constants: dict[str, Any] = {}
        self.bytes = 0  # of constants

    def input(self, name: str, *axes: str | int) -> str:
        """Add an int64 input; axes given as strings have any size."""
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, INT64, axes))
        return name

    def output(self, name: str, value: str, *axes: str | int, kind: int = FLOAT) -> None:
        """Make a value an output called ``name``."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self.outputs.append(name)
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, kind, axes))

    def constant(self, numbers: NDArray[Any], name: str = "") -> str:
        """Add a constant and return its name; a name is stored once."""
        if not name:
            digest = blake2b(numbers.tobytes(), digest_size=8).hexdigest()
            name = f"constant_{numbers.dtype}_{numbers.shape}_{digest}"
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(np.asarray(numbers, order="C"), name)
            self.bytes += numbers.nbytes
        return name

    def add(self, operator: str, *inputs: Value, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        return self.add_many(operator, 1, *inputs, **attributes)[0]

    def add_many(self, operator: str, outputs: int, *inputs: Value, **attributes: Any) -> list[str]:
        """As `add`, for several outputs."""
        names = [f"{operator}_{len(self._nodes)}_{number}" for number in range(outputs)]
        values = [self._value(each) for each in inputs]
        self._nodes.append(self._onnx.helper.make_node(operator, values, names, name=names[0], **attributes))
        return names

    def save(self, path: Path, metadata: dict[str, str]) -> None:
        """Check and write the graph, with metadata."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "bertie", self._inputs, self._outputs, list(self._constants.values()))
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="bertie")
        model.producer_version = bertie.__version__
        helper.set_model_props(model, metadata)
        if self.bytes < MAX_BYTES:
            self._onnx.save_model(model, path)
        else:
            self._onnx.save_model(model, path, save_as_external_data=True, location=f"{path.name}_data")
        self._onnx.checker.check_model(path)

    def _value(self, given: Value) -> str:
        if isinstance(given, str):
            return given
        if isinstance(given, np.generic | np.ndarray):
            return self.constant(np.asarray(given))
        return self.constant(np.asarray(given, np.float32 if isinstance(given, float) else np.int64))
