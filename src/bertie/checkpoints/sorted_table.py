"""LevelDB's sorted tables, the format of a TensorFlow checkpoint's index.

A table is a sequence of blocks, each followed by a byte for its compression (TensorFlow uses none: kNoCompression in
its tensor_bundle.cc) and a checksum; the footer locates the index block, which locates the others. A block is a
sequence of (key, value) entries, whose keys omit the prefix shared with the previous key, and then a list of restart
points, entries with whole keys, which sequential reading does not need.
"""

import struct
from collections.abc import Iterator

FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5
_LONGEST_KEY = 512


class DamagedTable(ValueError):
    """A table is damaged; the message says how."""


def read_table(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the (key, value) pairs of a table in the order of the keys."""
    try:
        if len(raw) < FOOTER or struct.unpack("<Q", raw[-8:])[0] != _MAGIC:
            raise DamagedTable("its footer is not that of an index")
        footer = raw[-FOOTER:]
        _, at = _handle(footer, 0)  # skips the meta-index block, which is empty here
        index, _ = _handle(footer, at)
        before = None
        for _, where in _entries(_block(raw, *index)):
            for key, value in _entries(_block(raw, *_handle(where, 0)[0])):
                if before is not None and key <= before:
                    raise DamagedTable("its names are not in order")
                yield key, value
                before = key
    except (IndexError, struct.error) as error:
        raise DamagedTable("a block ends too early") from error


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length integer (seven bits per byte) at an offset, and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DamagedTable("a number has more than ten bytes")


def checksum(raw: bytes) -> int:
    """Return LevelDB's masked checksum: the CRC-32C rotated by 15 bits plus a constant."""
    crc = 0xFFFFFFFF
    for byte in raw:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc


_CRC32C = tuple(map(_crc_of_byte, range(256)))


def _handle(raw: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return a block's (offset, size) as stored at ``at``, and the offset after them."""
    offset, at = varint(raw, at)
    size, at = varint(raw, at)
    return (offset, size), at


def _block(raw: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + _TRAILER > len(raw) - FOOTER:
        raise DamagedTable("a block lies beyond its end")
    kind, stated = raw[end], struct.unpack("<I", raw[end + 1 : end + _TRAILER])[0]
    if checksum(raw[offset : end + 1]) != stated:
        raise DamagedTable("a block's checksum is wrong")
    if kind:
        raise DamagedTable(f"a block has compression {kind}, which no index has")
    return raw[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or shared + own > _LONGEST_KEY or at + own + length > end:
            raise DamagedTable("an entry is longer than its block, or its name too long")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length
    if at != end:
        raise DamagedTable("a block ends within an entry")
