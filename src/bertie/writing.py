"""Records as JSON lines, a table, Parquet, CoNLL, or what SQuAD's script reads; no terminal takes them for commands."""

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

# bytes of a table that are held in memory, and the records that are packed together
_IN_MEMORY = 2**24
_TOGETHER = 8_192


class Lines:
    """Writes records as JSON lines, to a file or to standard output."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self.file = file

    def write(self, record: dict[str, Any]) -> None:
        """Write one record; what is no finite number is null, as JSON has none other."""
        try:
            line = json.dumps(record, ensure_ascii=False, allow_nan=False, default=str)
        except ValueError:
            line = json.dumps(_finite(record), ensure_ascii=False, default=str)
        print(printable(line), file=self.file)

    def end(self) -> None:
        """Write what comes after the last record."""


class Table(Lines):
    """Writes records as CSV or TSV, at their end: only then all columns are known that one of them has."""

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
    """Writes records as Parquet, at their end; until then they are held as Arrow has them."""

    def __init__(self, file: IO[str] | None = None) -> None:
        super().__init__(file)
        self._arrow: Any = need("pyarrow", "parquet", "Writing Parquet")
        self._records: list[dict[str, Any]] = []
        self._tables: list[Any] = []

    def write(self, record: dict[str, Any]) -> None:
        self._records.append(record)
        if len(self._records) == _TOGETHER:
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
    """Writes records of words as CoNLL: a line a word, with tabs, and a blank line a sentence.

    Lists of a value a word are columns, ``predicted_tags`` the last; other fields stand in comments before them.
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
    """Writes one JSON object: the id of each question and its answer, as SQuAD's script reads it."""

    def __init__(self, file: IO[str] | None = None) -> None:
        super().__init__(file)
        self._answers: dict[str, str] = {}

    def write(self, record: dict[str, Any]) -> None:
        number = next((record[name] for name in ("id", "qid", "question_id", "guid") if record.get(name)), None)
        if number is None:
            raise InputError("--to squad needs an 'id' of each question.")
        if str(number) in self._answers:
            raise InputError(f"Two questions have the id {number!r}; --to squad needs one of its own for each.")
        self._answers[str(number)] = record["answer"] if "answer" in record else record["answers"][0]["answer"]

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
FORMS = ("jsonl", "csv", "tsv", "parquet")
"""What any records can be written as."""
_WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods")
FORM_OF_SUFFIX = {".ndjson": "jsonl", **{f".{form}": form for form in _WRITERS if form != "squad"}}


def beside(row: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return a row with an answer behind it; what both have is the answer's, and the row's is called ``input_…``."""
    return {f"input_{name}" if name in answer else name: value for name, value in row.items()} | answer


def refuse_workbook(output: Path | None) -> None:
    """Refuse a file whose name says that it is a workbook, which a program would not open."""
    if output is not None and output.suffix.lower() in _WORKBOOKS:
        raise InputError(f"{str(output)!r} would be a workbook, which bertie does not write; a .csv opens there, too.")


def form_of_output(output: Path | None, to: str | None = None, more: Sequence[str] = ()) -> str:
    """Return the form in which records are written: the one that the user names, or that the file's name ends in."""
    forms = (*FORMS, *more)
    if to is not None and to not in forms:
        raise InputError(f"--to is {to!r}; answers are written as {', '.join(forms[:-1])} or {forms[-1]}.")
    if to is not None or output is None or not output.suffix:
        return to or "jsonl"
    refuse_workbook(output)
    form = FORM_OF_SUFFIX.get(output.suffix.lower())
    if form in forms:
        return form
    endings = ", ".join(suffix for suffix, other in FORM_OF_SUFFIX.items() if other in forms)
    logger.warning("%s is written as JSON lines; other forms follow from the endings %s.", output, endings)
    return "jsonl"


def writer(form: str, file: IO[str] | None = None) -> Lines:
    """Return what writes records in a form of `form_of_output`, whose ``end`` has to be called after the last."""
    return _WRITERS[form](file)


def _finite(value: Any) -> Any:
    """Return a value with None in place of infinities and of what is no number."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, keep="\n\t")
    return printable(json.dumps(value, ensure_ascii=False)) if isinstance(value, dict | list) else value
