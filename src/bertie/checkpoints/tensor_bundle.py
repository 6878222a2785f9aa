"""A TensorFlow 1 checkpoint: an index of tensors, and memory-mapped data files (shards) next to it."""

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from bertie.checkpoints.foreign_names import TENSORFLOW_1, ForeignFile
from bertie.checkpoints.sorted_table import DamagedTable, read_table, varint
from bertie.checkpoints.tensors import LARGEST_HEADER, TensorInfo, check_count, mapped_array
from bertie.errors import CheckpointError
from bertie.files import explained, read_bytes
from bertie.hub import member
from bertie.messages import short

SUFFIX = ".index"
# optimiser slots of parameters, and other training state
_TRAINING_STATE = {
    *("adam_m", "adam_v", "Adam", "Adam_1", "AdamWeightDecayOptimizer", "AdamWeightDecayOptimizer_1"),
    *("LAMBOptimizer", "LAMBOptimizer_1", "global_step", "beta1_power", "beta2_power", "good_steps", "loss_scale"),
}
# TensorFlow's DataType enum, the dtypes that a weight may have
_DTYPES = {1: "float32", 2: "float64", 14: "bfloat16", 19: "float16"}
_MOST_SHARDS = 10_000


class TensorBundle(ForeignFile):
    """A checked checkpoint under our names, without its training state."""

    def __init__(self, index: Path) -> None:
        self._locations: dict[str, tuple[Path, int]] = {}
        self._mapped: dict[Path, mmap.mmap] = {}
        raw = read_bytes(index, "TensorFlow index", LARGEST_HEADER)
        try:
            infos = dict(self._read_index(index, raw))
        except (DamagedTable, UnicodeDecodeError, IndexError) as error:
            reason = "a name is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            raise CheckpointError(
                f"{str(index)!r} is truncated, damaged or not a TensorFlow index ({reason}); fetch it again"
            ) from error
        super().__init__(index, TENSORFLOW_1, infos, lambda name: self._array(name, infos[name]))

    def _read_index(self, index: Path, raw: bytes) -> Iterator[tuple[str, TensorInfo]]:
        shards = 0
        for number, (key, value) in enumerate(read_table(raw)):
            check_count(index, number)
            fields = dict(_fields(value))
            if not key:
                shards = _number_of_shards(fields)
                continue
            name = key.decode()
            if not shards:
                raise DamagedTable("it does not begin with the number of its data files")
            if not _TRAINING_STATE & set(name.split("/")) and fields.get(1) in _DTYPES:
                yield name, self._locate(index, name, value, fields, shards)

    def _locate(self, index: Path, name: str, value: bytes, fields: dict[int, Any], shards: int) -> TensorInfo:
        """Return a tensor's description, and record where its data is after checking that it is there."""
        info = TensorInfo(tuple(_sizes(value)), _DTYPES[fields[1]], index)
        shard, offset, size = (fields.get(number, 0) for number in (3, 4, 5))
        if 7 in fields:
            raise CheckpointError(f"{str(index)!r} holds {name!r} in slices; save it whole, without a partitioner")
        are_numbers = all(isinstance(each, int) for each in (shard, offset, size, *info.shape))
        if not are_numbers or shard >= shards or not 0 < size == info.nbytes:
            raise DamagedTable(f"{name!r} of shape {short(info.shape)} is said to take {short(size)} bytes")
        path = member(index.parent, f"{index.name.removesuffix(SUFFIX)}.data-{shard:05d}-of-{shards:05d}")
        if offset + size > len(self._map(path)):
            raise CheckpointError(f"{str(path)!r} is truncated: {name!r} lies beyond its end; fetch it again")
        self._locations[name] = path, offset
        return info

    def _map(self, path: Path) -> "mmap.mmap | bytes":
        if path not in self._mapped:
            if not path.is_file():
                raise CheckpointError(f"there is no {str(path)!r}, which holds data of the checkpoint; fetch it too")
            if not path.stat().st_size:
                return b""
            with explained(path, "read"), path.open("rb") as file:
                self._mapped[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._mapped[path]

    def _array(self, name: str, info: TensorInfo) -> NDArray[Any]:
        path, offset = self._locations[name]
        return mapped_array(self._map(path), info, offset)


def index_in(folder: Path) -> Path | None:
    """Return the index of the only checkpoint in a folder, or of the one that its file ``checkpoint`` names."""
    found = sorted(path.name for path in folder.glob(f"*ckpt*{SUFFIX}"))
    if len(found) < 2:
        return member(folder, found[0]) if found else None
    latest = member(folder, "checkpoint")
    text = read_bytes(latest, "checkpoint", 2**20).decode("utf-8", "replace") if latest.is_file() else ""
    for line in text.splitlines():
        key, _, named = line.partition(":")
        name = PurePosixPath(named.strip().strip('"')).name + SUFFIX
        if key.strip() == "model_checkpoint_path" and name in found:
            return member(folder, name)
    raise CheckpointError(
        f"{str(folder)!r} holds {len(found)} TensorFlow checkpoints, {', '.join(found[:4])}; give the path of one, "
        f"{str(folder / found[-1])!r}, or leave one in the folder"
    )


def _number_of_shards(header: dict[int, Any]) -> int:
    shards = header.get(1, 0)
    if not isinstance(shards, int) or not 0 < shards <= _MOST_SHARDS:
        raise DamagedTable(f"it names {short(shards)} data files")
    if header.get(2, 0) != 0:
        raise DamagedTable("its data is big-endian, as no BERT's is")
    return shards


def _sizes(entry: bytes) -> Iterator[int]:
    """Yield the dimensions in a tensor's entry, each a message nested in that of its shape."""
    shapes = [value for number, value in _fields(entry) if number == 2]
    sizes = [value for shape in shapes for number, value in _fields(shape) if number == 2]
    if len(sizes) > 16 or len(shapes) > 1:
        raise DamagedTable(f"a tensor has {len(sizes)} dimensions")
    for size in sizes:
        yield dict(_fields(size)).get(1, 0)


def _fields(message: Any) -> Iterator[tuple[int, Any]]:
    """Yield field number and value for each field of a protocol buffer; nested messages stay bytes."""
    if not isinstance(message, bytes):
        raise DamagedTable("a number stands where a message belongs")
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(message, at)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, at = varint(message, at)
        if size is None or at + size > len(message):
            raise DamagedTable("a tensor's entry is not a protocol buffer")
        yield tag >> 3, message[at : at + size]
        at += size
