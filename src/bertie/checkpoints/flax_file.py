"""flax_model.msgpack: a nested mapping whose leaves are arrays, read and written without Flax or JAX.

An array is msgpack's extension type 1 and holds (shape, dtype name, bytes); arrays larger than 1 GiB are flattened and
split into chunks.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.foreign_names import FLAX, ForeignFile
from bertie.checkpoints.tensors import FLOATS, MOST_TENSORS, TensorInfo, array_dtype
from bertie.errors import CheckpointError
from bertie.extras import need
from bertie.files import read_bytes
from bertie.messages import short

_ARRAY = 1
_CHUNKED = "__msgpack_chunked_array__"
_LARGEST_CHUNK = 2**30
_LARGEST_FILE = 2**36
_DEEPEST = 32


class FlaxFile(ForeignFile):
    """A checked msgpack file under our names; it is read as a whole, because the format has no index."""

    def __init__(self, path: Path) -> None:
        msgpack = need("msgpack", "convert", f"Reading {str(path)!r}")
        limits = dict.fromkeys(("max_array_len", "max_map_len"), MOST_TENSORS)
        raw = read_bytes(path, "Flax", _LARGEST_FILE)
        try:
            tree = msgpack.unpackb(raw, ext_hook=_array, strict_map_key=False, **limits)
            tensors = dict(_leaves(tree))
        except Exception as error:  # a damaged file can raise errors of almost any class
            reason = short(str(error).strip() or type(error).__name__)
            raise CheckpointError(
                f"{str(path)!r} is truncated, damaged or not a Flax file ({reason}); fetch it again"
            ) from error
        infos = {name: TensorInfo(array.shape, dtype, path) for name, (dtype, array) in tensors.items()}
        super().__init__(path, FLAX, infos, lambda name: tensors[name][1].copy())


def write_flax(tensors: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write arrays under our names as the parameters of a Flax model to ``path``, overwriting it."""
    msgpack = need("msgpack", "convert", f"Writing {str(path)!r}")
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        theirs = FLAX.to_theirs(name)
        *parts, leaf = theirs.split("/")
        node = tree
        for part in parts:
            node = node.setdefault(part, {})
        node[leaf] = _packed(msgpack, tensor.T if FLAX.is_transposed(theirs) else tensor)
    with path.open("wb") as file:
        msgpack.pack(tree, file)


def _packed(msgpack: Any, array: NDArray[Any]) -> Any:
    if array.nbytes <= _LARGEST_CHUNK:
        return msgpack.ExtType(_ARRAY, msgpack.packb((array.shape, array.dtype.name, array.tobytes("C"))))
    flat, length = array.reshape(-1), _LARGEST_CHUNK // array.itemsize
    chunks = [_packed(msgpack, flat[begin : begin + length]) for begin in range(0, flat.size, length)]
    return {_CHUNKED: True, "shape": _numbered(array.shape), "chunks": _numbered(chunks)}


def _numbered(values: Any) -> dict[str, Any]:
    return {str(number): value for number, value in enumerate(values)}


def _array(code: int, data: bytes) -> Any:
    """Return the dtype and the values of an array, as raw bits if NumPy lacks the dtype."""
    import msgpack

    if code != _ARRAY:
        raise ValueError(f"an extension {code}, which weights never have")
    shape, dtype, raw = msgpack.unpackb(data, raw=True, max_array_len=16)
    name = dtype.decode("ascii", "replace")
    if name not in FLOATS:
        raise ValueError(f"an array of {name!r:.60}, which weights never have")
    return name, np.frombuffer(raw, array_dtype(name)).reshape(_sizes(shape))


def _leaves(tree: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, tuple[str, NDArray[Any]]]]:
    """Yield the path of each array in a nested mapping, with its dtype and values."""
    if isinstance(tree, tuple):
        yield path, tree
    elif not isinstance(tree, dict) or depth > _DEEPEST:
        raise ValueError(f"{path!r:.60} is {short(tree, 60)}, neither an array nor a mapping of them")
    elif _CHUNKED in tree:
        yield path, _joined(tree)
    else:
        for name, value in tree.items():
            yield from _leaves(value, f"{path}/{name}" if path else str(name), depth + 1)


def _joined(tree: Mapping[str, Any]) -> tuple[str, NDArray[Any]]:
    parts = _in_order(tree["chunks"])
    if len({name for name, _ in parts}) > 1:
        raise ValueError("the chunks of an array differ in dtype")
    return parts[0][0], np.concatenate([part for _, part in parts]).reshape(_sizes(_in_order(tree["shape"])))


def _in_order(numbered: Mapping[str, Any]) -> list[Any]:
    """Return the values of a mapping with keys "0", "1", …, in numeric order."""
    return [numbered[str(number)] for number in range(len(numbered))]


def _sizes(shape: Any) -> tuple[int, ...]:
    sizes = tuple(shape)
    if not all(type(size) is int and size >= 0 for size in sizes) or math.prod(sizes) == 0:
        raise ValueError(f"an array of shape {short(sizes, 60)}")
    return sizes
