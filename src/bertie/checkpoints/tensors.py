"""What is known of a stored tensor before it is read, its numbers as NumPy has them, and the limits of such files."""

import math
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bertie.errors import CheckpointError

if TYPE_CHECKING:
    import torch

# a BERT-large has 400 tensors with names of 60 characters and a header of 50 kB; these caps are met by no real model
MOST_TENSORS = 100_000
LONGEST_NAME = 512
LARGEST_HEADER = 32 * 2**20
FLOATS = ("float32", "float16", "bfloat16", "float64")
# element types that NumPy does not have → those of the arrays that hold their bits
_BITS = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}


class TensorInfo(NamedTuple):
    """Shape and element type of a stored tensor (named as PyTorch and NumPy do), and the file it lies in."""

    shape: tuple[int, ...]
    dtype: str
    file: Path

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.elements * array_dtype(self.dtype).itemsize


class TensorFile(Protocol):
    """One opened file of tensors: what is in it, and the numbers of each on demand."""

    path: Path
    infos: dict[str, TensorInfo]

    def array(self, name: str) -> NDArray[Any]:
        """Return a tensor's numbers, or its bits where NumPy lacks the type, memory-mapped where the format allows."""
        ...


def dtype_name(dtype: object) -> str:
    """Return the name of an element type of PyTorch or NumPy, ``"float32"``."""
    return str(dtype).removeprefix("torch.")


def array_dtype(name: str) -> "np.dtype[Any]":
    """Return the type of an array that holds numbers of the type ``name``, or their bits where NumPy lacks it."""
    return np.dtype(_BITS.get(name, name))


def array_of(tensor: "torch.Tensor") -> NDArray[Any]:
    """Return the numbers of a tensor on the CPU, or their bits where NumPy lacks the type, without a copy."""
    import torch

    bits = _BITS.get(dtype_name(tensor.dtype))
    tensor = tensor.detach()
    return (tensor if bits is None else tensor.view(getattr(torch, bits))).numpy()


def mapped_array(memory: "mmap.mmap | bytes", info: TensorInfo, offset: int) -> NDArray[Any]:
    """Return the numbers of a tensor that begin at ``offset`` in a mapped file, as a view of it."""
    array = np.frombuffer(memory, array_dtype(info.dtype), info.elements, offset)
    # some files put numbers across their natural boundaries, where some kernels cannot read them
    return (array if array.flags.aligned else array.copy()).reshape(info.shape)


def tensor_of(array: NDArray[Any], dtype: str) -> "torch.Tensor":
    """Return an array as a tensor of the type ``dtype``, without a copy."""
    import torch

    return torch.from_numpy(array).view(getattr(torch, dtype))


def float32_of(array: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Return floating-point numbers of the type ``dtype`` in float32; these are not copied, and halves are exact."""
    if dtype == "bfloat16":  # the upper half of a float32
        wide = array.astype(np.uint32)
        return np.left_shift(wide, 16, out=wide).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32, copy=False)


def check_float(name: str, info: TensorInfo) -> None:
    """Refuse a tensor that does not hold floating-point numbers that a weight can have."""
    if info.dtype not in FLOATS:
        raise CheckpointError(
            f"{str(info.file)!r}: the tensor {name!r} holds {info.dtype} where one of {', '.join(FLOATS)} belongs; "
            "quantised weights must be declared in config.json, else save the model in floating point"
        )


def check_name(path: Path, name: object) -> str:
    """Return ``name`` if it can be a tensor's name."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise CheckpointError(
            f"{str(path)!r} has a tensor name that is empty, no text or longer than {LONGEST_NAME} characters: "
            f"{repr(name)[:60]}; this is no model's file"
        )
    return name


def check_count(path: Path, count: int) -> None:
    """Refuse a file that claims more tensors than any model has."""
    if count > MOST_TENSORS:
        raise CheckpointError(f"{str(path)!r} has {count} tensors; at most {MOST_TENSORS} are read")


def all_finite(numbers: "NDArray[Any] | torch.Tensor") -> bool:
    # a sum is 15 times as fast as isfinite, and NaN and infinity survive it; finite numbers may overflow it
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(numbers.sum())
    if math.isfinite(total):
        return True
    return bool(np.isfinite(numbers).all() if isinstance(numbers, np.ndarray) else numbers.isfinite().all())
