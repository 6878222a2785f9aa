"""TensorFlow 1 files written for tests: LevelDB's table and TensorFlow's messages, by their specifications."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bertie.checkpoints.foreign_names import TENSORFLOW_1
from bertie.checkpoints.sorted_table import checksum

_TYPES = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}


def number(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(key: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return number(key << 3) + number(value)
    return number(key << 3 | 2) + number(len(value)) + value


def block(entries: list[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """Return a block of prefix-compressed entries, with its type and checksum."""
    raw, before = b"", b""
    for key, value in entries:
        shared = next(
            (at for at, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), min(len(before), len(key))
        )
        raw += number(shared) + number(len(key) - shared) + number(len(value)) + key[shared:] + value
        before = key
    raw += struct.pack("<II", 0, 1)
    raw += bytes([compression])
    return raw + struct.pack("<I", checksum(raw))


def table(entries: list[tuple[bytes, bytes]], of: int = 40, compression: int = 0) -> bytes:
    """Return a sorted table, with a given number of entries per block."""
    raw, index = b"", []
    for begin in range(0, len(entries), of):
        part = entries[begin : begin + of]
        made = block(part, compression)
        index.append((part[-1][0], number(len(raw)) + number(len(made) - 5)))
        raw += made
    handles = b""
    for made in (block([]), block(index)):
        handles += number(len(raw)) + number(len(made) - 5)
        raw += made
    return raw + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def write_bundle(tensors: Mapping[str, np.ndarray], path: Path, adam: bool = True) -> Path:
    """Write arrays under our names as ``path.index`` and its data file, with Adam's slots if ``adam``."""
    theirs = {TENSORFLOW_1.to_theirs(name): array for name, array in tensors.items()}
    theirs = {name: array.T if TENSORFLOW_1.is_transposed(name) else array for name, array in theirs.items()}
    if adam:
        theirs |= {f"{name}/adam_{slot}": array for name, array in theirs.items() for slot in "mv"}
        theirs["global_step"] = np.array(7, np.int64)
    entries, numbers = [(b"", field(1, 1) + field(3, field(1, 1)))], b""
    for name, array in sorted(theirs.items(), key=lambda item: item[0].encode()):
        shape = b"".join(field(2, field(1, size)) for size in array.shape)
        entry = field(1, _TYPES[array.dtype.name]) + field(2, shape) + field(4, len(numbers)) + field(5, array.nbytes)
        entries.append((name.encode(), entry + b"\x35" + bytes(4)))
        numbers += array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.data-00000-of-00001").write_bytes(numbers)
    index = path.with_name(f"{path.name}.index")
    index.write_bytes(table(entries))
    return index
