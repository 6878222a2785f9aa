"""Writing records as JSON lines, CSV, TSV, Parquet, CoNLL or SQuAD predictions, with control characters escaped."""

import csv
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from bertie.errors import InputError
from bertie.extras import need
from bertie.messages import printable
from bertie.progress import logger

# bytes of a table that are held in memory before it moves to disk
_IN_MEMORY = 2**24
# records per Arrow table
_CHUNK = 8_192


class Lines:
    """Writes records as JSON lines to a file or to standard output."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self.file = file

    def write(self, record: dict[str, Any]) -> None:
        """Write one record; NaN and infinities become null, because JSON has neither."""
        try:
            line = json.dumps(record, ensure_ascii=False, allow_nan=False, default=str)
        except ValueError:
            line = json.dumps(_finite(record), ensure_ascii=False, default=str)
        print(printable(line), file=self.file)

    def end(self) -> None:
        """Finish the output after the last record."""


class Table(Lines):
    """Writes records as CSV or TSV, all at the end, when the columns of every record are known."""

    def __init__(self, file: IO[str] | None = None, delimiter: str = ",") -> None:
        super().__init__(file)
        self._delimiter = delimiter
        self._columns: dict[str, None] = {}
        self._rows = SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")  # noqa: SIM115

    def write(self, record: dict[str, Any]) -> None:
        self._columns |= dict.fromkeys(record)
        print(json.dumps({name: _cell(value) for name, value in record.items()}, default=str), file=self._rows)

    def end(self) -> None:
        out = csv.DictWriter(self.file or sys.stdout, self._columns, delimiter=self._delimiter, lineterminator="\n")
        with self._rows as rows:
            if self._columns:
                out.writeheader()
            rows.seek(0)
            out.writerows(map(json.loads, rows))


class Parquet(Lines):
    """Writes records as Parquet, all at the end; until then they are held as Arrow tables."""

    def __init__(self, file: IO[str] | None = None) -> None:
        super().__init__(file)
        self._arrow: Any = need("pyarrow", "parquet", "Writing Parquet")
        self._records: list[dict[str, Any]] = []
        self._tables: list[Any] = []

    def write(self, record: dict[str, Any]) -> None:
        self._records.append(record)
        if len(self._records) == _CHUNK:
            self._pack()

    def _pack(self) -> None:
        columns = dict.fromkeys(name for record in self._records for name in record)
        try:
            arrays = {name: self._arrow.array([one.get(name) for one in self._records]) for name in columns}
            self._tables.append(self._arrow.table(arrays))
        except (self._arrow.ArrowException, OverflowError) as error:
            raise InputError(f"The answers are not a table that Parquet can hold ({error}); write jsonl.") from error
        self._records = []

    def end(self) -> None:
        self._pack()
        try:
            table = self._arrow.concat_tables(self._tables, promote_options="permissive")
        except self._arrow.ArrowException as error:
            raise InputError(f"The answers are not a table that Parquet can hold ({error}); write jsonl.") from error
        file: Any = self.file or sys.stdout
        need("pyarrow.parquet", "parquet", "Writing Parquet").write_table(table, file.buffer)


class Conll(Lines):
    """Writes tagged sentences as CoNLL: one tab-separated line per word, and a blank line after each sentence.

    Lists with one value per word become columns, ``predicted_tags`` last; other fields become comments before them.
    """

    def write(self, record: dict[str, Any]) -> None:
        tags = record.pop("predicted_tags", None)
        if tags is None:
            raise InputError("--to conll writes words; give them as CoNLL, or as lists in a field 'words'.")
        columns = [value for value in record.values() if isinstance(value, list) and len(value) == len(tags)]
        for name, value in record.items():
            if not any(value is column for column in columns):
                print(f"# {printable(name)} = {printable(json.dumps(value, ensure_ascii=False))}", file=self.file)
        for cells in zip(*columns, tags, strict=True):
            print("\t".join(printable(str(cell)) for cell in cells), file=self.file)
        print(file=self.file)


class Squad(Lines):
    """Writes one JSON object from question id to answer, the format of SQuAD's evaluation script."""

    def __init__(self, file: IO[str] | None = None) -> None:
        super().__init__(file)
        self._answers: dict[str, str] = {}

    def write(self, record: dict[str, Any]) -> None:
        question = next((record[name] for name in ("id", "qid", "question_id", "guid") if record.get(name)), None)
        if question is None:
            raise InputError("--to squad needs an 'id' for each question.")
        if str(question) in self._answers:
            raise InputError(f"Two questions have the id {question!r}; --to squad needs unique ids.")
        self._answers[str(question)] = record["answer"] if "answer" in record else record["answers"][0]["answer"]

    def end(self) -> None:
        super().write(self._answers)


_WRITERS: dict[str, Callable[[IO[str] | None], Lines]] = {
    "jsonl": Lines,
    "csv": Table,
    "tsv": partial(Table, delimiter="\t"),
    "parquet": Parquet,
    "conll": Conll,
    "squad": Squad,
}
FORMATS = ("jsonl", "csv", "tsv", "parquet")
"""The formats that suit any records."""
_WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods")
FORMAT_OF_SUFFIX = {".ndjson": "jsonl", **{f".{name}": name for name in _WRITERS if name != "squad"}}


def with_answer(row: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return a row's fields followed by the answer's; a field of the row that both have is renamed ``input_…``."""
    return {f"input_{name}" if name in answer else name: value for name, value in row.items()} | answer


def refuse_workbook(output: Path | None) -> None:
    """Refuse a file name with a spreadsheet's suffix, which is not written and would not open as one."""
    if output is not None and output.suffix.lower() in _WORKBOOKS:
        raise InputError(
            f"{str(output)!r} would be a workbook, which bertie does not write; spreadsheets open .csv, too."
        )


def output_format(output: Path | None, to: str | None = None, more: Sequence[str] = ()) -> str:
    """Return the format of the output: ``to`` if given, else by the file's suffix; ``more`` formats are allowed too."""
    formats = (*FORMATS, *more)
    if to is not None and to not in formats:
        raise InputError(f"--to is {to!r}; answers are written as {', '.join(formats[:-1])} or {formats[-1]}.")
    if to is not None or output is None or not output.suffix:
        return to or "jsonl"
    refuse_workbook(output)
    named = FORMAT_OF_SUFFIX.get(output.suffix.lower())
    if named in formats:
        return named
    suffixes = ", ".join(suffix for suffix, other in FORMAT_OF_SUFFIX.items() if other in formats)
    logger.warning("%s is written as JSON lines; other formats are chosen by the suffixes %s.", output, suffixes)
    return "jsonl"


def writer(name: str, file: IO[str] | None = None) -> Lines:
    """Return the writer of a format; its ``end`` must be called after the last record."""
    return _WRITERS[name](file)


def _finite(value: Any) -> Any:
    """Return a value with None in place of NaN and infinities."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, keep="\n\t")
    return printable(json.dumps(value, ensure_ascii=False)) if isinstance(value, dict | list) else value
