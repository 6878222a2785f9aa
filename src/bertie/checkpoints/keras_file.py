"""tf_model.h5 as transformers' TFBert… classes write it: read and written without TensorFlow.

The HDF5 library is written in C and, unlike our other readers, may crash, hang or exhaust the memory on a damaged file.
It therefore runs in a separate process, within limits, and copies the weights to a safetensors file. Each layer is a
group that holds its weights; its attributes list their names in order.
"""

import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.foreign_names import KERAS, ForeignFile
from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.checkpoints.tensors import MOST_TENSORS
from bertie.errors import CheckpointError
from bertie.extras import need
from bertie.files import first_bytes

_READER = "import sys; from bertie.checkpoints.keras_file import copy_tensors; copy_tensors(*sys.argv[1:])"
# the process's allowance on top of what the file's size requires
_SECONDS, _SECONDS_PER_GIB, _BYTES = 20, 60, 2 * 2**30
_LARGEST_ATTRIBUTE = 64_000  # bytes of names; more are split over several attributes


class KerasFile(ForeignFile):
    """A checked Keras HDF5 file under our names."""

    def __init__(self, path: Path) -> None:
        need("h5py", "convert", f"Reading {str(path)!r}")
        first_bytes(path)  # refuses a git-lfs pointer
        # the mapped file stays readable after its removal; Windows cannot remove it, and keeps it
        with tempfile.TemporaryDirectory(prefix="bertie-", ignore_cleanup_errors=True) as folder:
            copy = Path(folder, "tensors.safetensors")
            _run_reader(path, copy)
            copied = SafetensorsFile(copy)
        infos = {name: info._replace(file=path) for name, info in copied.infos.items()}
        super().__init__(path, KERAS, infos, copied.array)


def write_keras(tensors: Mapping[str, NDArray[Any]], path: Path, architecture: str) -> None:
    """Write arrays under canonical names as the weights of the TF class of ``architecture``, overwriting ``path``."""
    h5py = need("h5py", "convert", f"Writing {str(path)!r}")
    model = _snake_case(f"TF{architecture}")
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for name, tensor in tensors.items():
        theirs = KERAS.to_theirs(name)
        stored = tensor.T if KERAS.is_transposed(theirs) else tensor
        layers.setdefault(theirs.partition("/")[0], {})[f"{model}/{theirs}:0"] = stored
    if head := layers.get("mlm___cls"):  # the decoder shares the embeddings and lists them again
        head.update({name: tensor for name, tensor in layers["bert"].items() if "/bert/embeddings/" in name})
    written: dict[str, Any] = {}
    with h5py.File(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "2.15.0"
        _write_names(file, "layer_names", list(layers))
        for layer, weights in {**layers, "top_level_model_weights": {}}.items():
            group = file.create_group(layer)
            _write_names(group, "weight_names", list(weights))
            for name, tensor in weights.items():
                group[name] = written.setdefault(name, tensor)  # assigning the stored dataset again makes a link to it
                written[name] = group[name]


def copy_tensors(source: str, target: str) -> None:
    """Copy the weights of a Keras HDF5 file to a safetensors file; runs in the reader process."""
    import h5py

    _limit_process(os.path.getsize(source))
    try:
        with h5py.File(source, "r") as file:
            write_tensors(dict(_weights(file, h5py)), Path(target))
    except Exception as error:  # h5py raises errors of almost any class
        print(" ".join(str(error).split())[:200] or type(error).__name__, file=sys.stderr)
        sys.exit(1)


def _run_reader(path: Path, copy: Path) -> None:
    """Copy the weights of the file ``path`` in a separate process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "utf-8"}
    seconds = 10 * _seconds(path.stat().st_size)
    given = [os.path.abspath(path), str(copy)]
    try:
        done = subprocess.run(
            [sys.executable, "-c", _READER, *given], env=environment, capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"{str(path)!r} could not be read in {seconds} s; it is damaged, fetch it again"
        ) from error
    if done.returncode or not copy.is_file():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[-1][:300] if done.returncode == 1 and said else "HDF5 gave up"
        raise CheckpointError(
            f"{str(path)!r} is truncated, damaged or not a Keras weight file ({reason}); fetch it again"
        )


def _seconds(size: int) -> int:
    return _SECONDS + size * _SECONDS_PER_GIB // 2**30


def _limit_process(size: int) -> None:
    """Limit this process to what a file of ``size`` bytes can need, on systems that support it."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_seconds(size), _seconds(size)))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (_BYTES + 3 * size,) * 2)


def _weights(file: Any, h5py: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield each weight once, although several layers may list it, by its name without the model's."""
    seen: set[str] = set()
    layers = [_member(file, name, h5py) for name in _read_names(file, "layer_names")]
    for layer in layers:
        if isinstance(layer, h5py.Dataset):  # a shard stores weights directly, without groups
            found = {layer.name.strip("/"): layer}
        else:
            names = _read_names(layer, "weight_names")
            found = {name.partition("/")[2]: _member(layer, name, h5py) for name in names}
        for name, dataset in found.items():
            plain = name.removesuffix(":0")
            if plain not in seen:
                seen.add(plain)
                yield plain, _values(plain, dataset, h5py)


def _values(name: str, dataset: Any, h5py: Any) -> NDArray[Any]:
    is_plain = isinstance(dataset, h5py.Dataset) and dataset.external is None and not dataset.is_virtual
    if not is_plain or dataset.dtype.kind not in "fiub":
        raise ValueError(f"{name!r:.100} is not stored as plain numbers")
    stored, needed = dataset.id.get_storage_size(), math.prod(dataset.shape) * dataset.dtype.itemsize
    if dataset.chunks is not None or stored != needed or needed == 0:
        raise ValueError(f"{name!r:.100} takes {stored} bytes instead of {needed}; save it without compression")
    return np.asarray(dataset[()]).astype(dataset.dtype.newbyteorder("="), copy=False)


def _member(group: Any, name: str, h5py: Any) -> Any:
    """Return a member of a group; only hard links are followed, which cannot lead out of the file."""
    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"it has no {name!r:.100}")
        group = group[part]
    return group


def _read_names(group: Any, attribute: str) -> list[str]:
    """Return the names in an attribute, or in the numbered attributes it is split over."""
    cut = list(takewhile(group.attrs.__contains__, (f"{attribute}{number}" for number in count())))
    names: list[str] = []
    for each in [attribute] if attribute in group.attrs else cut:
        if math.prod(group.attrs.get_id(each).shape or (0,)) > MOST_TENSORS:
            raise ValueError(f"{each!r} claims more names than any model has")
        names += [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[each]]
    if not cut and attribute not in group.attrs:
        raise ValueError(f"it has no {attribute!r}")
    return names


def _write_names(group: Any, attribute: str, names: list[str]) -> None:
    encoded = [name.encode() for name in names]
    most = _LARGEST_ATTRIBUTE // max(map(len, encoded), default=1)
    parts = [encoded[begin : begin + most] for begin in range(0, len(encoded), most)] or [[]]
    for number, part in enumerate(parts):
        group.attrs[attribute if len(parts) == 1 else f"{attribute}{number}"] = part


def _snake_case(name: str) -> str:
    """Return the default name that Keras derives from a class name."""
    parted = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parted).lower()
