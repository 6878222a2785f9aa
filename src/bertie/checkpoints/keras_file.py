"""One tf_model.h5, as transformers' TFBert… classes write it: read and written without TensorFlow.

The library of HDF5 is written in C and may crash, hang or take any memory over a damaged file, as no other reader here
can: it reads in a process of its own, within limits, which copies the numbers into a safetensors file. A group holds
the weights of each layer; its attributes say in which order, and by which names.
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
# what the process may take beside what a file of its size needs
_SECONDS, _SECONDS_A_GIGABYTE, _BYTES = 20, 60, 2 * 2**30
_MOST_ATTRIBUTE = 64_000  # bytes of names in one attribute; more are cut into several


class KerasFile(ForeignFile):
    """A checked HDF5 file of Keras by our names."""

    def __init__(self, path: Path) -> None:
        need("h5py", "convert", f"Reading {str(path)!r}")
        first_bytes(path)  # refuses a pointer of git-lfs
        # a mapped file is read after its removal; Windows cannot remove it, and keeps it
        with tempfile.TemporaryDirectory(prefix="bertie-", ignore_cleanup_errors=True) as folder:
            copy = Path(folder, "tensors.safetensors")
            _run_reader(path, copy)
            copied = SafetensorsFile(copy)
        infos = {name: info._replace(file=path) for name, info in copied.infos.items()}
        super().__init__(path, KERAS, infos, copied.array)


def write_keras(tensors: Mapping[str, NDArray[Any]], path: Path, architecture: str) -> None:
    """Write arrays by our full names as the weights of the TF class of ``architecture``; ``path`` is overwritten."""
    h5py = need("h5py", "convert", f"Writing {str(path)!r}")
    model = _snake_case(f"TF{architecture}")
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for name, tensor in tensors.items():
        theirs = KERAS.to_theirs(name)
        turned = tensor.T if KERAS.is_transposed(theirs) else tensor
        layers.setdefault(theirs.partition("/")[0], {})[f"{model}/{theirs}:0"] = turned
    if words := layers.get("mlm___cls"):  # it multiplies by the embeddings, which it names as its own too
        words.update({name: tensor for name, tensor in layers["bert"].items() if "/bert/embeddings/" in name})
    written: dict[str, Any] = {}
    with h5py.File(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "2.15.0"
        _write_names(file, "layer_names", list(layers))
        for layer, weights in {**layers, "top_level_model_weights": {}}.items():
            group = file.create_group(layer)
            _write_names(group, "weight_names", list(weights))
            for name, tensor in weights.items():
                group[name] = written.setdefault(name, tensor)  # a second time it becomes a link to the first
                written[name] = group[name]


def copy_tensors(source: str, target: str) -> None:
    """Copy the weights in an HDF5 file of Keras into a safetensors file: the work of the process that reads."""
    import h5py

    _limit_process(os.path.getsize(source))
    try:
        with h5py.File(source, "r") as file:
            write_tensors(dict(_weights(file, h5py)), Path(target))
    except Exception as error:  # h5py raises errors of every kind
        print(" ".join(str(error).split())[:200] or type(error).__name__, file=sys.stderr)
        sys.exit(1)


def _run_reader(path: Path, copy: Path) -> None:
    """Let a process of its own copy the weights of the file ``path``."""
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
        raise CheckpointError(f"{str(path)!r} is truncated, damaged or no weights of Keras ({reason}); fetch it again")


def _seconds(size: int) -> int:
    return _SECONDS + size * _SECONDS_A_GIGABYTE // 2**30


def _limit_process(size: int) -> None:
    """Keep this process within what a file of ``size`` bytes can need, where the system can."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_seconds(size), _seconds(size)))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (_BYTES + 3 * size,) * 2)


def _weights(file: Any, h5py: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield each weight by its name without that of the model, once, although several layers may hold it."""
    seen: set[str] = set()
    layers = [_member(file, name, h5py) for name in _read_names(file, "layer_names")]
    for layer in layers:
        if isinstance(layer, h5py.Dataset):  # a shard holds its weights by their own names, without groups
            found = {layer.name.strip("/"): layer}
        else:
            names = _read_names(layer, "weight_names")
            found = {name.partition("/")[2]: _member(layer, name, h5py) for name in names}
        for name, dataset in found.items():
            plain = name.removesuffix(":0")
            if plain not in seen:
                seen.add(plain)
                yield plain, _numbers(plain, dataset, h5py)


def _numbers(name: str, dataset: Any, h5py: Any) -> NDArray[Any]:
    is_plain = isinstance(dataset, h5py.Dataset) and dataset.external is None and not dataset.is_virtual
    if not is_plain or dataset.dtype.kind not in "fiub":
        raise ValueError(f"{name!r:.100} is not stored as plain numbers")
    stored, needed = dataset.id.get_storage_size(), math.prod(dataset.shape) * dataset.dtype.itemsize
    if dataset.chunks is not None or stored != needed or needed == 0:
        raise ValueError(f"{name!r:.100} takes {stored} bytes instead of {needed}; save it without compression")
    return np.asarray(dataset[()]).astype(dataset.dtype.newbyteorder("="), copy=False)


def _member(group: Any, name: str, h5py: Any) -> Any:
    """Return what lies below a name, to which no link may lead out of the file."""
    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"it has no {name!r:.100}")
        group = group[part]
    return group


def _read_names(group: Any, attribute: str) -> list[str]:
    """Return the names in an attribute, or in those that it is cut into, numbered."""
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
    most = _MOST_ATTRIBUTE // max(map(len, encoded), default=1)
    parts = [encoded[begin : begin + most] for begin in range(0, len(encoded), most)] or [[]]
    for number, part in enumerate(parts):
        group.attrs[attribute if len(parts) == 1 else f"{attribute}{number}"] = part


def _snake_case(name: str) -> str:
    """Return a class's name as Keras calls a model of it."""
    parted = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parted).lower()
