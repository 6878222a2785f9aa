"""Zstandard files as a stream of bytes, through the package zstandard (the extra ``zstd``)."""

from io import RawIOBase
from pathlib import Path
from typing import Any

from bertie.extras import need

_CHUNK = 2**17


class ZstandardFile(RawIOBase):
    """The content of a .zst file of one frame or several; a file that ends too early is an EOFError.

    Raises:
        BertieError: zstandard is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._package = need("zstandard", "zstd", "Reading .zst files")
        self._file = path.open("rb")
        self._packed = self._plain = b""
        self._frame: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            self._packed = self._packed or self._file.read(_CHUNK)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("Compressed file ended before its last frame did")
                return 0
            self._unpack()
        size = min(len(buffer), len(self._plain))
        buffer[:size], self._plain = self._plain[:size], self._plain[size:]
        return size

    def _unpack(self) -> None:
        self._frame = self._frame or self._package.ZstdDecompressor().decompressobj()
        try:
            self._plain = self._frame.decompress(self._packed)
        except self._package.ZstdError as error:
            raise OSError(str(error)) from error
        self._packed = self._frame.unused_data
        if self._frame.eof:
            self._frame = None

    def close(self) -> None:
        self._file.close()
        super().close()
