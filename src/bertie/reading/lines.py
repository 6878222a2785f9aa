"""A stream of bytes as numbered lines of text: decompressed, checked to be UTF-8, and never too much of it at once."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Self

from bertie.errors import InputError
from bertie.reading.record import BadRows

LIMIT = 64 * 2**20
"""The most bytes of a line, and characters of a row of several: more is no text but a mistake."""

_PACKED: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file that may be compressed with gzip, bzip2 or xz, as its name says.

    Raises:
        InputError: it cannot be opened.
    """
    unpack = _PACKED.get(path.suffix.lower())
    try:
        # without a buffer of its own, Python's gzip and lzma take a lock and several calls for every line
        return path.open("rb") if unpack is None else BufferedReader(unpack(path), 2**18)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"The file {str(path)!r} cannot be read: {reason}.") from error


def plain_suffix(path: Path) -> str:
    """Return the suffix of a name in lower case, without that of its compression: ``.csv`` of ``a.csv.gz``."""
    return (Path(path.stem) if path.suffix.lower() in _PACKED else path).suffix.lower()


class Lines(Iterator[str]):
    r"""The lines of a stream, each with its end (``\n`` or ``\r\n``).

    Args:
        stream: where they come from.
        name: what it is called in messages.
        bad: takes lines that are not UTF-8.
        limit: the most bytes of a line, and characters of a row of several lines.

    Attributes:
        number: of the line given last, from 1.
    """

    def __init__(self, stream: IO[bytes], name: str, bad: BadRows, limit: int = LIMIT) -> None:
        self.name, self.number = name, 0
        self._stream, self._bad, self._limit = stream, bad, limit
        self._row: list[str] = []
        self._size = 0
        self._again: list[str] = []
        self._damaged: set[int] = set()

    def __next__(self) -> str:
        self.number += 1
        line = self._again.pop() if self._again else self._decoded()
        if not line:
            self.number -= 1
            raise StopIteration
        self._row.append(line)
        self._size += len(line)
        if self._size > self._limit:
            raise InputError(
                f"{self.name} has a row of more than {self._limit // 2**20} MB at line {self.first}; "
                "is it a text file, and is every quotation mark closed?"
            )
        return line

    @property
    def first(self) -> int:
        """The number of the first line since the last `forget`."""
        return self.number - len(self._row) + 1

    @property
    def is_damaged(self) -> bool:
        """Whether a line since the last `forget` was not UTF-8; it is in the account already."""
        return bool(self._damaged) and min(self._damaged) <= self.number

    def forget(self) -> bool:
        """Begin a new row; return whether the lines of the last one were all UTF-8."""
        whole = not self.is_damaged
        self._row, self._size = [], 0
        if not whole:
            self._damaged = {number for number in self._damaged if number > self.number}
        return whole

    def put_back(self, but: int) -> None:
        """Give the lines since the last `forget` once more, all but the first ``but`` of them."""
        self.number -= len(self._row) - but
        self._again.extend(reversed(self._row[but:]))
        self.forget()

    def __iter__(self) -> Self:
        return self

    def _decoded(self) -> str:
        try:
            raw = self._stream.readline(self._limit + 1)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise InputError(f"{self.name} cannot be read beyond line {self.number - 1}: {error}.") from error
        if self.number == 1:
            if raw.startswith(_UTF_16):
                raise InputError(f"Line 1 of {self.name} is not UTF-8 text but UTF-16; save the file as UTF-8.")
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self._bad.add(f"Line {self.number} of {self.name} is not UTF-8 text; save the file as UTF-8.")
            self._damaged.add(self.number)
            return raw.decode(errors="replace")
