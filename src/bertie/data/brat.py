"""brat: annotated spans in an ``.ann`` file, in characters of the text in the ``.txt`` file beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

from bertie.data.format import Format
from bertie.data.lines import remedy
from bertie.data.record import BadRows, Record
from bertie.errors import InputError
from bertie.messages import wrong_byte

# T1 <tab> Person 0 12 <tab> Ada Lovelace; semicolons separate the parts of a discontinuous span
_SPAN = re.compile(r"T\S*\t(\S+) (\d+(?: \d+;\d+)* \d+)(?:\t(.*))?")


def brat_records(path: Path, bad: BadRows, written: Format, notes: list[str]) -> Iterator[Record]:
    """Yield each non-blank line of the document beside the ``.ann`` file, with ``text`` and ``entities``."""
    document = path.with_suffix(".txt")
    text = _content(document, written)
    entities = list(_entities(path, text, written, bad, notes))
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        stop = start + len(line) + 1
        here = [[first - start, last - start, kind] for first, last, kind in entities if start <= first < last < stop]
        if line.strip():
            yield Record({"text": line.rstrip("\r"), "entities": here}, f"{document}, line {number}")
        start = stop


def _entities(path: Path, text: str, written: Format, bad: BadRows, notes: list[str]) -> Iterator[tuple[int, int, str]]:
    for number, line in enumerate(_content(path, written).splitlines(), 1):
        where, found = f"Line {number} of {path}", _SPAN.fullmatch(line)
        if found is None:
            if line.startswith("T"):
                bad.add(f"{where} is not a span; brat writes T1, a tab, and: Person 0 12.")
            continue
        kind, places, said = found.groups()
        numbers = [int(place) for place in re.split("[ ;]", places)]
        first, last = numbers[0], numbers[-1]
        here = " ".join(text[start:stop] for start, stop in zip(numbers[::2], numbers[1::2], strict=True))
        if said is not None and here.split() != said.split():
            bad.add(f"{where} says {said!r:.60} where {path.stem}.txt has {here!r:.60}.")
            continue
        if "\n" in text[first:last]:
            notes.append(f"{where} has a span across a line break; it is left out.")
        elif len(numbers) > 2:
            notes.append(f"{where} has a span in parts; it is read from the start of the first to the end of the last.")
        yield first, last, kind


def _content(path: Path, written: Format) -> str:
    encoding = written.encoding or "utf-8"
    try:
        # text mode would translate line endings, and shift the offsets
        return path.read_bytes().decode(encoding)
    except OSError as error:
        raise InputError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The file {str(path)!r} is not {encoding} text ({wrong_byte(error)}); {remedy()}.") from error
