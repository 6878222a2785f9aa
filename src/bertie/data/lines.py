"""A stream of bytes as numbered lines of text: decompressed and decoded, in limited memory."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader, RawIOBase, TextIOWrapper
from pathlib import Path
from typing import IO, Any, Self

from bertie.data.format import Format
from bertie.data.record import BadRows, Record
from bertie.errors import InputError, spelled
from bertie.extras import need
from bertie.messages import wrong_byte

_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# the first bytes of files that are not text, and what they are
_NO_TEXT = {
    b"PK\x03\x04": "an Excel workbook or another zip archive; save the table as CSV, or unpack the archive",
    b"\xd0\xcf\x11\xe0": "a file of an older Excel or Word; save the table as CSV, or the text as plain text",
    b"%PDF-": "a PDF; save its text as plain text",
    b"SQLite format 3\x00": "an SQLite database; export the table as CSV",
    b"PAR1\x15": "a Parquet file; its name must end in .parquet",
    b"\x1f\x8b": "compressed by gzip; decompress it, or give it a name that ends in .gz",
}
# of French, German, Spanish, Portuguese, Italian, and the Scandinavian languages
_LETTERS = ("àâæçèéêëîïôœùûü", "äöüß", "áéíñóúüªº", "àáâãçéêíóôõúü", "àèéìíòóùú", "åäæéöøü")
# other Windows code pages that have these characters have them at the same bytes
_SIGNS = set("€„…‘’“”•–—™§©«»®°·¡¿£½¼\xa0")
LIMIT = 64 * 2**20
"""The maximum size of a line in bytes, and of a row of several lines in characters: more must be a mistake."""
SAMPLE = 2**20
"""The maximum number of characters read ahead for a guess."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# in these, a line feed is more than one byte
_WIDE = ("utf-16", "utf_16", "utf-32", "utf_32", "utf16", "utf32")


def is_surely_cp1252(sample: bytes) -> bool:
    """Whether bytes are very likely Windows' western encoding: all letters belong to one language."""
    try:
        beyond = {one for one in sample.decode("cp1252").lower() if not one.isascii()}
    except UnicodeDecodeError:
        return False
    return any(beyond - _SIGNS <= set(letters) for letters in _LETTERS)


class ZstandardFile(RawIOBase):
    """The content of a .zst file of one or several frames; a truncated file is an EOFError."""

    def __init__(self, path: Path) -> None:
        self._package = need("zstandard", "zstd", "Reading .zst files")
        self._file = path.open("rb")
        self._plain = b""
        self._parts = self._decompressed()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            if (part := next(self._parts, None)) is None:
                return 0
            self._plain = part
        size = min(len(buffer), len(self._plain))
        buffer[:size], self._plain = self._plain[:size], self._plain[size:]
        return size

    def _decompressed(self) -> Iterator[bytes]:
        frame = None
        while compressed := self._file.read(2**17):
            while compressed:
                frame = frame or self._package.ZstdDecompressor().decompressobj()
                try:
                    yield frame.decompress(compressed)
                except self._package.ZstdError as error:
                    raise OSError(str(error)) from error
                compressed, frame = frame.unused_data, None if frame.eof else frame
        if frame is not None:
            raise EOFError("Compressed file ended before its last frame did")

    def close(self) -> None:
        self._file.close()
        super().close()


_COMPRESSED: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": ZstandardFile,
}


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file that may be compressed with gzip, bzip2, xz or Zstandard, according to its name."""
    decompress = _COMPRESSED.get(path.suffix.lower())
    try:
        # unbuffered, Python's gzip and lzma take a lock and several calls for every line
        return path.open("rb") if decompress is None else BufferedReader(decompress(path), 2**18)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"The file {str(path)!r} cannot be read: {reason}.") from None


def remedy(encoding: str = "cp1252") -> str:
    """Return the advice on a text that is not UTF-8, with an encoding that it may have."""
    return f"name its encoding, such as {spelled('encoding', encoding)}, or save it as UTF-8"


def plain_suffix(path: Path) -> str:
    """Return the suffix of a name in lower case, ignoring that of a compression: ``.csv`` of ``a.csv.gz``."""
    return (Path(path.stem) if path.suffix.lower() in _COMPRESSED else path).suffix.lower()


class _Damaged(str):
    """A line that could not be decoded, with replacement characters."""

    __slots__ = ()


class Lines(Iterator[str]):
    """The lines of a stream, with their line endings; those since the last `forget` make up the current row.

    ``bad`` collects lines that cannot be decoded and rows that a reader refuses, ``notes`` a sentence for each guess.
    """

    def __init__(
        self, stream: IO[bytes], name: str, bad: BadRows, format: Format, notes: list[str], limit: int = LIMIT
    ) -> None:
        self.name, self.bad, self.format, self.notes = name, bad, format, notes
        self.number = 0  # of the last line, from 1
        self.is_whole = True  # all lines of the row could be decoded; otherwise it is already in ``bad``
        self._stream: Any = stream if hasattr(stream, "peek") else BufferedReader(stream)
        self._limit, self._encoding, self._was_ascii = limit, self.format.encoding, True
        self._wide: TextIOWrapper | None = None
        self._row: list[str] = []
        self._size = self._decoded = self._offset = 0
        self._again: list[str] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._take()
        if not line:
            raise StopIteration
        self.number += 1
        if type(line) is _Damaged:
            self.is_whole = False
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
        """The number of the row's first line."""
        return self.number - len(self._row) + 1

    def forget(self) -> bool:
        """Begin a new row; return whether all lines of the last one could be decoded."""
        is_whole = self.is_whole
        self._row, self._size, self.is_whole = [], 0, True
        return is_whole

    def put_back(self, skip: int) -> None:
        """Return the lines of the row to the stream, except the first ``skip`` of them."""
        self.number -= len(self._row) - skip
        self._again.extend(reversed(self._row[skip:]))
        self.forget()

    def peek(self, count: int) -> list[str]:
        """Return up to ``count`` of the next lines without consuming them; fewer if they are long."""
        found: list[str] = []
        size = 0
        while len(found) < count and size < SAMPLE and (line := self._take()):
            found.append(line)
            size += len(line)
        self._again.extend(reversed(found))
        return found

    def rows(self) -> Iterator[str]:
        """Yield each line that could be decoded, as a row of its own."""
        return (line for line in self if self.forget())

    def record(self, fields: Mapping[str, Any], number: int | None = None) -> Record:
        return Record(fields, f"{self.name}, line {number or self.number}")

    def refuse(self, what: str, number: int | None = None) -> None:
        """Add a line, by default the last one, to the bad rows."""
        self.bad.add(f"Line {number or self.number} of {self.name} {what}")

    def _take(self) -> str:
        """Return the next line, empty at the end of the stream."""
        if self._again:
            return self._again.pop()
        self._decoded += 1
        try:
            if self._decoded == 1:
                self._begin()
            if self._wide is not None:
                line = self._wide.readline(self._limit + 1)
                return line.removeprefix("\ufeff") if self._decoded == 1 else line
            raw: bytes = self._stream.readline(self._limit + 1)
            self._offset += len(raw)
        except UnicodeDecodeError as error:
            # the buffer being decoded is longer than the line, and a pipe has no position
            seekable = self._stream.seekable()
            where = f" ({wrong_byte(error, self._stream.tell() - len(error.object))})" if seekable else ""
            raise InputError(
                f"Line {self._decoded} of {self.name} is not {self._encoding} text{where}; {remedy()}."
            ) from None
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise InputError(f"{self.name} cannot be read after line {self._decoded - 1}: {error}.") from error
        return self._as_text(raw.removeprefix(_BYTE_ORDER_MARK) if self._decoded == 1 else raw)

    def _begin(self) -> None:
        """Refuse files that are not text, and decode the stream as a whole if a line feed is more than one byte."""
        start = self._stream.peek(16)
        for mark, what in _NO_TEXT.items():
            if start.startswith(mark):
                raise InputError(f"{self.name} is {what}.")
        marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
        if self._encoding is None and marked:
            self._encoding = marked
            self.notes.append(f"{self.name} is read as {marked.upper()} because of its byte-order mark.")
        if self._encoding and self._encoding.lower().startswith(_WIDE):
            self._wide = TextIOWrapper(self._stream, self._encoding, newline="\n")

    def _as_text(self, raw: bytes) -> str:
        try:
            return raw.decode(self._encoding or "utf-8")
        except UnicodeDecodeError as error:
            if self._encoding is None and self._was_ascii and is_surely_cp1252(raw + self._stream.peek()):
                self._encoding = "cp1252"
                self.notes.append(
                    f"{self.name} is not UTF-8; it is read as cp1252 ({spelled('encoding')} names another)."
                )
                return self._as_text(raw)
            where = wrong_byte(error, self._offset - len(raw))
            self.refuse(f"is not {self._encoding or 'UTF-8'} text ({where}); {remedy()}.", self._decoded)
            return _Damaged(raw.decode(errors="replace"))
        finally:
            self._was_ascii = self._was_ascii and raw.isascii()
