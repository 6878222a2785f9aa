"""Texts for a command: from its arguments, a file or standard input, in any form that `bertie.reading` knows."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bertie.errors import InputError
from bertie.reading import Record, form_of, records, stream_records

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
        form: one of `bertie.reading.FORMS`; None takes it from the file's name.
        column: the field or column of the text.
        pair: the field or column of its partner. In lines, a tab stands between the two.

    Raises:
        InputError: no such file, or a line of it that cannot be read, with its number.
    """
    is_stream = path is None or str(path) == "-"
    kind = form_of(Path("" if path is None else path), form)
    if texts:
        if path is not None:
            raise InputError("Give texts as arguments or a file with --input, not both.")
        yield from _arguments(texts, pair)
        return
    if is_interactive(texts, path):
        print("bertie: reading texts from standard input; end with Ctrl-D", file=sys.stderr)
    rows = stream_records(standard_input(), "standard input", kind) if is_stream else records(path, kind)
    for record in rows:
        yield _halves(record) if kind == "lines" and pair is not None else _text(record, column, pair, kind)


def is_interactive(texts: list[str] | None, path: Path | None) -> bool:
    """Whether a person is typing the texts, so that each should be answered at once."""
    return not texts and (path is None or str(path) == "-") and sys.stdin is not None and sys.stdin.isatty()


def standard_input() -> BinaryIO:
    """Return the bytes of standard input.

    Raises:
        InputError: it is closed.
    """
    if sys.stdin is None:
        raise InputError("Standard input is closed; give texts as arguments, or a file with --input.")
    return sys.stdin.buffer


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


def _halves(record: Record) -> Text:
    first, tab, second = record.fields["text"].partition("\t")
    if not tab:
        raise InputError(f"A tab must stand between the two texts of a pair, and there is none in {record.where}.")
    return first, second


def _text(record: Record, column: str, pair: str | None, kind: str) -> Text:
    first = _field(record, "text" if kind == "lines" else column)
    return first if pair is None else (first, _field(record, pair))


def _field(record: Record, column: str) -> str:
    value = record.fields.get(column)
    if not isinstance(value, str):
        has = ", ".join(repr(key) for key in record.fields)
        raise InputError(f"There is no text in {column!r} of {record.where}; its fields are {has} (see --column).")
    return value
