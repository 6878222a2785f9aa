"""Descriptions of stored tensors, conversion between dtypes of files, NumPy and PyTorch, and limits on files."""

import math
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bertie.errors import CheckpointError

if TYPE_CHECKING:
    import torch

# a BERT-large has 400 tensors with names of 60 characters and a header of 50 kB; no real model reaches these limits
MOST_TENSORS = 100_000
LONGEST_NAME = 512
LARGEST_HEADER = 32 * 2**20
FLOATS = ("float32", "float16", "bfloat16", "float64")
# dtypes that NumPy lacks → dtypes of the arrays that hold their bits
_BITS = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}


class TensorInfo(NamedTuple):
    """Shape and dtype (by its name in PyTorch or NumPy) of a stored tensor, and the file that contains it."""

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
    """An open file of tensors: their descriptions, and their values on demand."""

    path: Path
    infos: dict[str, TensorInfo]

    def array(self, name: str) -> NDArray[Any]:
        """Return a tensor, as raw bits if NumPy lacks its dtype, memory-mapped if the format allows it."""
        ...


def dtype_name(dtype: object) -> str:
    """Return the name of a dtype of PyTorch or NumPy, such as ``"float32"``."""
    return str(dtype).removeprefix("torch.")


def array_dtype(name: str) -> "np.dtype[Any]":
    """Return the NumPy dtype called ``name``, or the one that holds its bits if NumPy lacks it."""
    return np.dtype(_BITS.get(name, name))


def array_of(tensor: "torch.Tensor") -> NDArray[Any]:
    """Return a CPU tensor as an array, of raw bits if NumPy lacks its dtype, without a copy."""
    import torch

    bits = _BITS.get(dtype_name(tensor.dtype))
    tensor = tensor.detach()
    return (tensor if bits is None else tensor.view(getattr(torch, bits))).numpy()


def mapped_array(memory: "mmap.mmap | bytes", info: TensorInfo, offset: int) -> NDArray[Any]:
    """Return the tensor at ``offset`` in a mapped file, as a view of it."""
    array = np.frombuffer(memory, array_dtype(info.dtype), info.elements, offset)
    # some files store misaligned values, which some kernels cannot read
    return (array if array.flags.aligned else array.copy()).reshape(info.shape)


def tensor_of(array: NDArray[Any], dtype: str) -> "torch.Tensor":
    """Return an array, or one of raw bits, as a tensor of type ``dtype``, without a copy."""
    import torch

    return torch.from_numpy(array).view(getattr(torch, dtype))


def float32_of(array: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Return floating-point values of type ``dtype`` in float32; float32 is not copied, and only float64 is rounded."""
    if dtype == "bfloat16":  # the upper half of a float32
        wide = array.astype(np.uint32)
        return np.left_shift(wide, 16, out=wide).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32, copy=False)


def check_float(name: str, info: TensorInfo) -> None:
    """Raise CheckpointError if a tensor's dtype is not one of `FLOATS`."""
    if info.dtype not in FLOATS:
        raise CheckpointError(
            f"{str(info.file)!r}: the tensor {name!r} holds {info.dtype} where one of {', '.join(FLOATS)} belongs; "
            "quantised weights must be declared in config.json, else save the model in floating point"
        )


def check_name(path: Path, name: object) -> str:
    """Return ``name`` if it is a valid tensor name."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise CheckpointError(
            f"{str(path)!r} has a tensor name that is empty, not a string or longer than {LONGEST_NAME} characters: "
            f"{repr(name)[:60]}; this is not a model's file"
        )
    return name


def check_count(path: Path, count: int) -> None:
    """Raise CheckpointError for a file that claims more tensors than any model has."""
    if count > MOST_TENSORS:
        raise CheckpointError(f"{str(path)!r} has {count} tensors; at most {MOST_TENSORS} are read")


def all_finite(numbers: "NDArray[Any] | torch.Tensor") -> bool:
    """Whether no value is NaN or infinite."""
    # a sum is 15 times as fast as isfinite and propagates NaN and infinity; finite values may overflow it
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(numbers.sum())
    if math.isfinite(total):
        return True
    return bool(np.isfinite(numbers).all() if isinstance(numbers, np.ndarray) else numbers.isfinite().all())
