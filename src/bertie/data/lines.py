"""A stream of bytes as numbered lines of text: decompressed, decoded, and never too much of it at once."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import IO, Any, Self

from bertie.data.format import Format
from bertie.data.record import BadRows
from bertie.data.zst import ZstandardFile
from bertie.errors import InputError, spelled

BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# French, German, Spanish, Portuguese, Italian, and those of the north
_LETTERS = ("àâæçèéêëîïôœùûü", "äöüß", "áéíñóúüªº", "àáâãçéêíóôõúü", "àèéìíòóùú", "åäæéöøü")
# where other code pages of Windows have these signs, they have them in the same places
_SIGNS = set("€„…‘’“”•–—™§©«»®°·¡¿£½¼\xa0")
LIMIT = 64 * 2**20
"""The most bytes of a line, and characters of a row of several: more is no text but a mistake."""
SAMPLE = 2**20
"""The most characters that are read ahead for a guess."""
_PACKED: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": ZstandardFile,
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# in these, a line feed is more than one byte
_WIDE = ("utf-16", "utf_16", "utf-32", "utf_32", "utf16", "utf32")


def marked_encoding(start: bytes) -> str | None:
    """Return the encoding that a byte order mark other than UTF-8's names."""
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)


def is_surely_cp1252(sample: bytes) -> bool:
    """Whether bytes that are not UTF-8 can only be meant as Windows' western European encoding.

    Read so, their letters beyond ASCII are those of one language. Cyrillic, Greek, Polish, Czech and Turkish, or the
    code pages of DOS and of old Macintoshes, give letters that no western language has together.
    """
    try:
        beyond = {one for one in sample.decode("cp1252").lower() if not one.isascii()}
    except UnicodeDecodeError:
        return False
    return any(beyond - _SIGNS <= set(letters) for letters in _LETTERS)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file that may be compressed with gzip, bzip2, xz or Zstandard, as its name says."""
    unpack = _PACKED.get(path.suffix.lower())
    try:
        # without a buffer of its own, Python's gzip and lzma take a lock and several calls for every line
        return path.open("rb") if unpack is None else BufferedReader(unpack(path), 2**18)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"The file {str(path)!r} cannot be read: {reason}.") from error


def remedy(encoding: str = "cp1252") -> str:
    """Return what to do about a text that is not UTF-8, with an encoding that it may be in."""
    return f"name its encoding, such as {spelled('encoding', encoding)}, or save it as UTF-8"


def plain_suffix(path: Path) -> str:
    """Return the suffix of a name in lower case, without that of its compression: ``.csv`` of ``a.csv.gz``."""
    return (Path(path.stem) if path.suffix.lower() in _PACKED else path).suffix.lower()


class Lines(Iterator[str]):
    r"""The lines of a stream, each with its end (``\n`` or ``\r\n``).

    Args:
        stream: where they come from.
        name: what it is called in messages.
        bad: takes lines that cannot be decoded.
        limit: the most bytes of a line, and characters of a row of several lines.
        format: as given by the user; its encoding is used here, the rest by readers.
        notes: takes a sentence for whatever is guessed of the file, here and by readers.

    Attributes:
        number: of the line given last, from 1.
    """

    def __init__(
        self,
        stream: IO[bytes],
        name: str,
        bad: BadRows,
        limit: int = LIMIT,
        *,
        format: Format | None = None,
        notes: list[str] | None = None,
    ) -> None:
        self.name, self.number = name, 0
        self.format = format or Format()
        self.notes = [] if notes is None else notes
        self._stream: Any = stream if hasattr(stream, "peek") else BufferedReader(stream)
        self._bad, self._limit = bad, limit
        self._encoding, self._was_ascii = self.format.encoding, True
        self._wide: TextIOWrapper | None = None
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

    def peek(self, count: int) -> list[str]:
        """Return up to ``count`` of the next lines, and give them again afterwards; of long lines fewer."""
        row, size, number = self._row, self._size, self.number
        found: list[str] = []
        self._row, self._size = [], 0
        while len(found) < count and self._size < SAMPLE and (line := next(self, "")):
            found.append(line)
        self._again.extend(reversed(found))
        self._row, self._size, self.number = row, size, number
        return found

    def _decoded(self) -> str:
        try:
            if self.number == 1 and self._wide is None:
                self._begin()
            if self._wide is not None:
                line = self._wide.readline(self._limit + 1)
                return line.removeprefix("\ufeff") if self.number == 1 else line
            raw: bytes = self._stream.readline(self._limit + 1)
        except UnicodeDecodeError as error:
            raise InputError(f"Line {self.number} of {self.name} is not {self._encoding} text; {remedy()}.") from error
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise InputError(f"{self.name} cannot be read beyond line {self.number - 1}: {error}.") from error
        return self._as_text(raw.removeprefix(_BYTE_ORDER_MARK) if self.number == 1 else raw)

    def _begin(self) -> None:
        """Decode the whole stream at once if a line feed is more than a byte in it."""
        marked = marked_encoding(self._stream.peek(4)[:4])
        if self._encoding is None and marked:
            self._encoding = marked
            self.notes.append(f"{self.name} is read as {marked.upper()}, as its first bytes say.")
        if self._encoding and self._encoding.lower().startswith(_WIDE):
            self._wide = TextIOWrapper(self._stream, self._encoding, newline="\n")

    def _as_text(self, raw: bytes) -> str:
        try:
            return raw.decode(self._encoding or "utf-8")
        except UnicodeDecodeError:
            if self._encoding is None and self._was_ascii and is_surely_cp1252(raw + self._stream.peek()):
                self._encoding = "cp1252"
                self.notes.append(
                    f"{self.name} is no UTF-8; it is read as cp1252 ({spelled('encoding')} names another)."
                )
                return self._as_text(raw)
            expected = self._encoding or "UTF-8"
            self._bad.add(f"Line {self.number} of {self.name} is not {expected} text; {remedy()}.")
            self._damaged.add(self.number)
            return raw.decode(errors="replace")
        finally:
            self._was_ascii = self._was_ascii and raw.isascii()
