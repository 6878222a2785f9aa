"""Texts for a command: from its arguments, a file or standard input, in any form that `bertie.data` knows."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, ClassVar, NamedTuple

from typer import Argument

from bertie.cli.options import FormatOptions, Input
from bertie.cli.verbosity import say
from bertie.errors import InputError, plural
from bertie.messages import printable
from bertie.progress import logger

if TYPE_CHECKING:
    from bertie.data import Record

# a text, the two of a pair, or words
Text = str | tuple[str, str] | list[str]
ANY_FORMAT = FormatOptions()
# what fields of words are called
_WORDS = ("words", "tokens")


class Asked(NamedTuple):
    """What is to be answered, the row it stands in, which is written beside the answer, and the row's place."""

    text: Any
    row: Mapping[str, Any]
    where: str = ""  # as `bertie.data.Record` has it


@dataclass(frozen=True)
class InputOptions:
    """Where texts come from: the arguments, a file, or standard input."""

    texts: Annotated[list[str] | None, Argument(help="Texts; without any, --input or standard input is read.")] = None
    input: Input = None
    # how the texts of a file are read
    of_file: ClassVar[str] = "--input reads the file of that name"

    def is_stream(self) -> bool:
        """Whether standard input is read."""
        return not self.texts and str(self.input or "-") == "-"

    def is_interactive(self) -> bool:
        """Whether a person is typing the texts, so that each should be answered at once."""
        return self.is_stream() and sys.stdin is not None and sys.stdin.isatty()

    def read(
        self,
        form: FormatOptions = ANY_FORMAT,
        column: str = "text",
        pair: str | None = None,
        *,
        shown: Sequence[str] = ("text", "text_pair"),
        words: bool = False,
        learned: Mapping[str, Any] | None = None,
    ) -> Iterator[Asked]:
        """Yield the texts, each with its row.

        They are pairs where ``pair`` names the second column; with ``words``, lists of words may stand in place of
        texts. Rows that have no columns call their texts as ``shown`` says. Rows that have the columns ``learned`` of
        text and second text are read by these.
        """
        if self.texts:
            if self.input is not None:
                raise InputError("Give texts as arguments or a file with --input, not both.")
            form.as_format()  # one that there is not is refused beside texts too
            yield from (Asked(text, _named(text, shown)) for text in _arguments(self.texts, pair, self.of_file))
            return
        from bertie.data import Format, form_of, records, stream_records

        written = form.as_format() or Format()
        kind = form_of(Path(self.input or ""), written.name)
        if self.is_interactive():
            end = "Ctrl-Z and Enter" if sys.platform == "win32" else "Ctrl-D"
            say(f"bertie: reading texts from standard input; end with {end}")
        if self.is_stream():
            rows = stream_records(standard_input(), "standard input", replace(written, name=kind))
        else:
            rows = records(self.input, written)
        for record in rows:
            is_line = kind == "lines" and list(record.fields) == ["text"]
            if is_line and pair is not None:
                text: Text = _halves(record)
            elif learned and (found := _learned(record, learned)) is not None:
                text = found
            else:
                text = _text(record, "text" if kind == "lines" and column not in record.fields else column, pair, words)
            yield Asked(text, _named(text, shown) if is_line else record.fields, record.where)
        say_notes(rows.notes)


def say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        logger.warning("%s", printable(note))


def standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise InputError("Standard input is closed; give texts as arguments, or a file with --input.")
    return sys.stdin.buffer


def _arguments(texts: list[str], pair: str | None, of_file: str) -> Iterator[str | tuple[str, str]]:
    for text in texts:
        if len(text) < 256 and Path(text).is_file():
            logger.warning("%r is read as a text; %s", text, of_file)
    if pair is None:
        yield from texts
        return
    if len(texts) % 2:
        is_given = plural(len(texts), "is", "are")
        raise InputError(f"Texts are taken two by two, and {len(texts)} {is_given} given; give two for each pair.")
    yield from zip(texts[::2], texts[1::2], strict=True)


def _halves(record: "Record") -> tuple[str, str]:
    first, tab, second = record.fields["text"].partition("\t")
    if not tab:
        raise InputError(f"A tab must stand between the two texts of a pair, and there is none in {record.where}.")
    return first, second


def _text(record: "Record", column: str, pair: str | None, words: bool) -> Text:
    if words:
        lists = [record.fields.get(name) for name in (column, *_WORDS)]
        found = next(
            (one for one in lists if one and isinstance(one, list) and all(isinstance(word, str) for word in one)), None
        )
        if found is not None and not isinstance(record.fields.get(column), str):
            return found
    first = record.text(column)
    return first if pair is None else (first, record.text(pair))


def _learned(record: "Record", learned: Mapping[str, Any]) -> Text | None:
    """Return the text or pair in a model's own columns, of several for a text joined; None if the row lacks one."""
    roles = [learned[role] for role in ("text", "text_pair") if role in learned]
    columns = [[role] if isinstance(role, str) else list(role) for role in roles]
    if "text" not in learned or not all(set(names) <= set(record.fields) for names in columns):
        return None
    first, *second = (" ".join(record.text(name) for name in names if record.fields[name]) for names in columns)
    return (first, second[0]) if second else first


def _named(text: Any, shown: Sequence[str]) -> dict[str, str]:
    return dict(zip(shown, text if isinstance(text, tuple) else (text,), strict=False))
