"""The input of a command: texts from its arguments, a file or standard input, in any format of `bertie.data`."""

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
# names of fields with lists of words
_WORDS = ("words", "tokens")


class InputRow(NamedTuple):
    """A text (or pair, …) to answer, the row it comes from, and the row's location for messages."""

    text: Any
    row: Mapping[str, Any]  # written beside the answer
    where: str = ""  # as in `bertie.data.Record`


@dataclass(frozen=True)
class InputOptions:
    """Where texts come from: the arguments, a file, or standard input."""

    texts: Annotated[list[str] | None, Argument(help="Texts; by default, --input or standard input is read.")] = None
    input: Input = None
    # said where an argument is the name of a file
    file_hint: ClassVar[str] = "--input reads the file of that name"

    def is_stream(self) -> bool:
        """Whether standard input is read."""
        return not self.texts and str(self.input or "-") == "-"

    def is_interactive(self) -> bool:
        """Whether texts are typed at a terminal, so that each should be answered at once."""
        return self.is_stream() and sys.stdin is not None and sys.stdin.isatty()

    def read(
        self,
        form: FormatOptions = ANY_FORMAT,
        column: str = "text",
        pair: str | None = None,
        *,
        shown: Sequence[str] = ("text", "text_pair"),
        words: bool = False,
        trained_columns: Mapping[str, Any] | None = None,
    ) -> Iterator[InputRow]:
        """Yield the texts, each with its row.

        Args:
            form: the format of a file.
            column: the column of the text.
            pair: the column of the second text; texts are then pairs.
            shown: the fields that arguments and plain lines get in the output.
            words: whether a row may have a list of words instead of a text.
            trained_columns: role → column that the model was fine-tuned on; rows that have them are read by them.
        """
        if self.texts:
            if self.input is not None:
                raise InputError("Give texts as arguments or a file with --input, not both.")
            form.as_format()  # refuses an unknown format even if no file is read
            yield from (
                InputRow(text, _as_fields(text, shown)) for text in _arguments(self.texts, pair, self.file_hint)
            )
            return
        from bertie.data import Format, form_of, records, stream_records

        stated = form.as_format() or Format()
        kind = form_of(Path(self.input or ""), stated.name)
        if self.is_interactive():
            end = "Ctrl-Z and Enter" if sys.platform == "win32" else "Ctrl-D"
            say(f"bertie: reading texts from standard input; end with {end}")
        if self.is_stream():
            rows = stream_records(standard_input(), "standard input", replace(stated, name=kind))
        else:
            rows = records(self.input, stated)
        for record in rows:
            is_line = kind == "lines" and list(record.fields) == ["text"]
            if is_line and pair is not None:
                text: Text = _split_pair(record)
            elif trained_columns and (found := _trained_text(record, trained_columns)) is not None:
                text = found
            else:
                text = _text(record, "text" if kind == "lines" and column not in record.fields else column, pair, words)
            yield InputRow(text, _as_fields(text, shown) if is_line else record.fields, record.where)
        say_notes(rows.notes)


def say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        logger.warning("%s", printable(note))


def standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise InputError("Standard input is closed; give texts as arguments, or a file with --input.")
    return sys.stdin.buffer


def _arguments(texts: list[str], pair: str | None, file_hint: str) -> Iterator[str | tuple[str, str]]:
    for text in texts:
        if len(text) < 256 and Path(text).is_file():
            logger.warning("%r is read as a text; %s", text, file_hint)
    if pair is None:
        yield from texts
        return
    if len(texts) % 2:
        is_given = plural(len(texts), "is", "are")
        raise InputError(f"Texts are taken two by two, and {len(texts)} {is_given} given; give two for each pair.")
    yield from zip(texts[::2], texts[1::2], strict=True)


def _split_pair(record: "Record") -> tuple[str, str]:
    first, tab, second = record.fields["text"].partition("\t")
    if not tab:
        raise InputError(f"The two texts of a pair must be separated by a tab, and there is none in {record.where}.")
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


def _trained_text(record: "Record", trained_columns: Mapping[str, Any]) -> Text | None:
    """Return the text or pair from a model's own columns, several for one text joined; None if the row lacks one."""
    roles = [trained_columns[role] for role in ("text", "text_pair") if role in trained_columns]
    columns = [[role] if isinstance(role, str) else list(role) for role in roles]
    if "text" not in trained_columns or not all(set(names) <= set(record.fields) for names in columns):
        return None
    first, *second = (" ".join(record.text(name) for name in names if record.fields[name]) for names in columns)
    return (first, second[0]) if second else first


def _as_fields(text: Any, shown: Sequence[str]) -> dict[str, str]:
    return dict(zip(shown, text if isinstance(text, tuple) else (text,), strict=False))
