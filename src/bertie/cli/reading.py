"""Texts for a command: from its arguments, a file or standard input, as lines, JSON lines or a table, one by one."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from bertie.errors import InputError, nearest

FORMATS = ("lines", "jsonl", "csv", "tsv")
_OF_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
# a text, or the two of a pair
Text = str | tuple[str, str]


def read_texts(
    texts: list[str] | None,
    path: Path | None = None,
    form: str | None = None,
    column: str = "text",
    pair: str | None = None,
) -> Iterator[Text]:
    """Yield the texts of a command, or pairs if ``pair`` names the column of the second text.

    Args:
        texts: those given as arguments; they go before any file.
        path: the file to read; None or ``-`` is standard input.
        form: one of `FORMATS`; None takes it from the file's name.
        column: the field or column of the text.
        pair: the field or column of its partner. In lines, a tab stands between the two.

    Raises:
        InputError: no such file, or a line of it that cannot be read, with its number.
    """
    if form not in (None, *FORMATS):
        raise InputError(f"There is no format {form!r}; choose one of {', '.join(FORMATS)}.{nearest(form, FORMATS)}")
    if texts:
        if path is not None:
            raise InputError("Give texts as arguments or a file with --input, not both.")
        yield from _arguments(texts, pair)
        return
    name = "standard input" if path is None or str(path) == "-" else str(path)
    if is_interactive(texts, path):
        print("bertie: reading texts from standard input; end with Ctrl-D", file=sys.stderr)
    kind = form or _OF_SUFFIX.get(Path(name).suffix.lower(), "lines")
    with nullcontext(sys.stdin.buffer) if name == "standard input" else _opened(Path(name)) as stream:
        yield from _READERS[kind](stream, name, column, pair)


def is_interactive(texts: list[str] | None, path: Path | None) -> bool:
    """Whether a person is typing the texts, so that each should be answered at once."""
    return not texts and (path is None or str(path) == "-") and sys.stdin.isatty()


def _arguments(texts: list[str], pair: str | None) -> Iterator[Text]:
    for text in texts:
        if len(text) < 256 and Path(text).is_file():
            print(f"bertie: {text!r} is read as a text; --input reads the file of that name", file=sys.stderr)
    if pair is None:
        yield from texts
        return
    if len(texts) % 2:
        raise InputError(f"Texts are taken two by two, and {len(texts)} of them are given.")
    yield from zip(texts[::2], texts[1::2], strict=True)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"Line {number} of {name} is not UTF-8 text; save the file as UTF-8.") from error


def _lines(stream: BinaryIO, name: str, _column: str, pair: str | None) -> Iterator[Text]:
    for number, line in enumerate(_decoded(stream, name), 1):
        text = line.rstrip("\r\n")
        if pair is None:
            yield text
            continue
        first, tab, second = text.partition("\t")
        if not tab:
            raise InputError(f"Line {number} of {name} is no pair: a tab must stand between its two texts.")
        yield first, second


def _json_lines(stream: BinaryIO, name: str, column: str, pair: str | None) -> Iterator[Text]:
    for number, line in enumerate(_decoded(stream, name), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"Line {number} of {name} is no JSON: {str(error)[:100]}.") from error
        if not isinstance(record, dict):
            raise InputError(f"Line {number} of {name} is no JSON object with a field {column!r}.")
        yield _fields(record, number, name, column, pair)


def _table(delimiter: str) -> Callable[[BinaryIO, str, str, str | None], Iterator[Text]]:
    def read(stream: BinaryIO, name: str, column: str, pair: str | None) -> Iterator[Text]:
        csv.field_size_limit(2**31 - 1)  # a text may be long
        # strict: a quotation mark that is never closed must not swallow the rest of the file in silence
        rows = csv.DictReader(_decoded(stream, name), delimiter=delimiter, strict=True)
        last = 0
        try:
            last = rows.line_num if rows.fieldnames else 0
            for row in rows:
                last = rows.line_num
                yield _fields(row, last, name, column, pair)
        except csv.Error as error:
            raise InputError(
                f"Line {last + 1} of {name} begins no row of a table: {error}. A text with quotation marks stands in "
                'quotation marks, and its own are doubled: "say ""hi"""; or use --format lines.'
            ) from error

    return read


def _fields(record: dict[Any, Any], number: int, name: str, column: str, pair: str | None) -> Text:
    found = []
    for field in (column, pair):
        if field is None:
            continue
        value = record.get(field)
        if not isinstance(value, str):
            has = ", ".join(repr(key) for key in record if isinstance(key, str))
            raise InputError(f"Line {number} of {name} has no text in {field!r}; its fields are {has} (see --column).")
        found.append(value)
    return found[0] if pair is None else (found[0], found[1])


_READERS = {"lines": _lines, "jsonl": _json_lines, "csv": _table(","), "tsv": _table("\t")}
