"""A .safetensors file: its header is checked before anything is mapped, then tensors are views of the mapped file.

The library's own functions leak memory with every tensor they read, leave a temporary file behind if the process is
killed while they write, and do not report which system error occurred.

Layout: the header's length in 8 bytes, a JSON header {name: {dtype, shape, data_offsets}}, the tensors' bytes.
"""

import json
import mmap
import os
import struct
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.tensors import (
    LARGEST_HEADER,
    TensorInfo,
    array_of,
    check_count,
    check_name,
    dtype_name,
    mapped_array,
    tensor_of,
)
from bertie.errors import CheckpointError
from bertie.files import refuse_pointer
from bertie.messages import short

if TYPE_CHECKING:
    import torch

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class SafetensorsFile:
    """A checked safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                header, start = _read_header(path, file)
                self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"{str(path)!r} cannot be read: {error.strerror}") from error
        places = _places(path, header, len(self._memory) - start)
        self.infos = {name: info for name, (_, info) in places.items()}
        self._starts = {name: start + begin for name, (begin, _) in places.items()}

    def array(self, name: str) -> NDArray[Any]:
        """Return a tensor as a copy-on-write view of the mapped file."""
        return mapped_array(self._memory, self.infos[name], self._starts[name])

    def tensor(self, name: str) -> "torch.Tensor":
        return tensor_of(self.array(name), self.infos[name].dtype)


def write_tensors(tensors: Mapping[str, "NDArray[Any] | torch.Tensor"], path: Path) -> None:
    """Write arrays, or tensors on any device, to ``path``, overwriting it in place (see `files.atomic`)."""
    for name, tensor in tensors.items():
        if dtype_name(tensor.dtype) not in _NAMES:
            raise CheckpointError(f"the tensor {name!r} is of {tensor.dtype}, which weights never have; leave it out")
    # the largest element sizes first, so that every tensor is aligned
    ordered = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    sizes = [tensors[name].nbytes for name in ordered]
    ends = list(accumulate(sizes))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for name, size, end in zip(ordered, sizes, ends, strict=True):
        tensor = tensors[name]
        header[name] = {
            "dtype": _NAMES[dtype_name(tensor.dtype)],
            "shape": list(tensor.shape),
            "data_offsets": [end - size, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in ordered:
            file.write(bytes_of(tensors[name]))


def bytes_of(tensor: "NDArray[Any] | torch.Tensor") -> memoryview:
    """Return the bytes of an array, or of a tensor on any device."""
    array = tensor if isinstance(tensor, np.ndarray) else array_of(tensor.detach().cpu())
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _places(path: Path, header: dict[str, Any], space: int) -> dict[str, tuple[int, TensorInfo]]:
    """Return the offset of each tensor in the ``space`` bytes after the header, and its description."""
    header.pop("__metadata__", None)
    check_count(path, len(header))
    spans = {check_name(path, name): _span(path, name, entry) for name, entry in header.items()}
    end = 0
    for name, (begin, after, _) in sorted(spans.items(), key=lambda item: item[1][:2]):
        if begin != end:
            problem = "overlaps another tensor" if begin < end else "leaves a hole before it"
            raise CheckpointError(f"{str(path)!r} is damaged: the tensor {name!r} {problem}; fetch the file again")
        end = after
    if end != space:
        problem = f"its tensors need {end} bytes but it has {space}"
        raise CheckpointError(
            f"{str(path)!r} is {'truncated' if end > space else 'damaged'}: {problem}; fetch it again"
        )
    return {name: (begin, info) for name, (begin, _, info) in spans.items()}


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the header, and the offset of the data after it."""
    size = os.fstat(file.fileno()).st_size
    begin = file.read(64)
    refuse_pointer(path, begin)
    start = begin[:8]
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if length > size - 8:
        raise CheckpointError(
            f"{str(path)!r} is truncated or not a safetensors file: it has {size} bytes and its header alone "
            f"would need {length}; fetch it again"
        )
    if length > LARGEST_HEADER:
        raise CheckpointError(f"{str(path)!r} has a header of {length} bytes; at most {LARGEST_HEADER} are read")
    file.seek(8)
    raw = file.read(length)
    check_count(path, raw.count(b'"data_offsets"'))
    try:
        header = json.loads(raw, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CheckpointError(f"{str(path)!r} is not a safetensors file, or damaged: its header is {reason}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{str(path)!r} is damaged: its header is a JSON {type(header).__name__}, not an object")
    return header, 8 + length


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"ambiguous, it names {name[:60]!r} twice")
        found[name] = value
    return found


def _span(path: Path, name: str, entry: Any) -> tuple[int, int, TensorInfo]:
    """Return begin, end and description of a tensor after checking them against each other."""
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        is_valid = all(type(number) is int and number >= 0 for number in (*shape, begin, end)) and len(shape) <= 16
    except (KeyError, TypeError, ValueError):
        is_valid, kind = False, None
    if not is_valid:
        raise CheckpointError(f"{str(path)!r} is damaged: the header's entry for {name!r} is {repr(entry)[:100]}")
    if not isinstance(kind, str) or kind not in DTYPES:
        raise CheckpointError(
            f"{str(path)!r}: the tensor {name!r} has elements of type {short(kind)}, which no BERT has"
        )
    info = TensorInfo(shape, DTYPES[kind], path)
    if end - begin != info.nbytes:
        raise CheckpointError(
            f"{str(path)!r} is damaged: the tensor {name!r} of shape {list(shape)} and type {kind} has {end - begin} "
            f"bytes instead of {info.nbytes}"
        )
    return begin, end, info
