"""Files of running text → documents: rows of tables or JSON lines; of plain text files, blocks or lines."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from bertie.data.format import Format
from bertie.data.records import files_of, form_of, records
from bertie.errors import InputError, nearest

UNITS = ("files", "blank-lines", "lines")
_SUFFIXES = (".txt", ".text", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab", ".parquet", ".pq")
_LIMIT = 2**28


class Documents(Iterator[str]):
    """The documents of files, one at a time in memory. ``notes`` holds a sentence for each guess.

    ``unit`` is what a document of plain text is; None: a file if there are several, else a block between blank lines.
    """

    def __init__(self, paths: list[str], form: Format | None = None, column: str = "text", unit: str | None = None):
        if unit not in (None, *UNITS):
            raise InputError(f"--documents is {unit!r}; choose one of {', '.join(UNITS)}.{nearest(str(unit), UNITS)}")
        self.files = files_of(paths, _SUFFIXES)
        self.notes: list[str] = []
        self._form, self._column = Format.of(form), column
        plain = [path for path in self.files if self._is_plain(path)]
        self._unit = unit or ("files" if len(plain) > 1 else "blank-lines")
        if plain and unit is None:
            guess = (
                "each text file is a document"
                if len(plain) > 1
                else f"blank lines separate the documents of {plain[0]}"
            )
            self.notes.append(f"{guess}; --documents changes that.")
        self._documents = self._read()

    def __next__(self) -> str:
        return next(self._documents)

    def _is_plain(self, path: Path) -> bool:
        return form_of(path, self._form.name) == "lines"

    def _read(self) -> Iterator[str]:
        for path in self.files:
            rows = records(path, self._form)
            if self._is_plain(path):
                yield from self._of_lines((str(row.fields["text"]) for row in rows), path)
            else:
                yield from (row.text(self._column) for row in rows)
            self.notes += rows.notes

    def _of_lines(self, lines: Iterator[str], path: Path) -> Iterator[str]:
        if self._unit == "lines":
            yield from lines
        elif self._unit == "files":
            yield self._joined(lines, path)
        else:
            for is_blank, paragraph in groupby(lines, lambda line: not line.strip()):
                if not is_blank:
                    yield self._joined(paragraph, path)

    def _joined(self, lines: Iterator[str], path: Path) -> str:
        parts, size = [], 0
        for line in lines:
            parts.append(line)
            size += len(line) + 1
            if size > _LIMIT:
                raise InputError(
                    f"A document of {str(path)!r} has more than {_LIMIT:,} characters; say what separates documents "
                    "with --documents blank-lines or lines."
                )
        return "\n".join(parts)
