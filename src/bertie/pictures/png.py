"""Matrices as PNG: one byte per cell, from transparent to opaque in one colour, so that they suit any background.

The header and trailer around the compressed rows have fixed lengths; ``attention.js`` relies on that to read the rows.
"""

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.pictures.colours import INK

LEVELS = 256
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def opacity_of(weights: NDArray[Any], steps: int = LEVELS - 1) -> NDArray[np.uint8]:
    """Return weights between 0 and 1 as bytes; their square roots, so that weights of a few percent are visible."""
    roots = np.sqrt(np.clip(weights, 0, 1))
    return np.rint(np.rint(roots * steps) * ((LEVELS - 1) / steps)).astype(np.uint8)


def png(opacity: NDArray[np.uint8]) -> bytes:
    """Return the PNG file of a matrix ``[rows, columns]``, one pixel per cell; 0 is transparent, 255 opaque."""
    rows, columns = opacity.shape
    # each row begins with its filter type, 0: none
    lines = np.pad(opacity, ((0, 0), (1, 0))).tobytes()
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes.fromhex(INK[0][1:]) * LEVELS),
        (b"tRNS", bytes(range(LEVELS))),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    sums = [struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    parts = (struct.pack(">I", len(body)) + kind + body + crc for (kind, body), crc in zip(chunks, sums, strict=True))
    return _SIGNATURE + b"".join(parts)


def data_uri(opacity: NDArray[np.uint8]) -> str:
    """Return the PNG file of a matrix as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png(opacity)).decode("ascii")
