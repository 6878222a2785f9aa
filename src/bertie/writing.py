"""Records as lines that no terminal takes for commands: JSON, a table, CoNLL, or the answers of SQuAD's script."""

import csv
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from bertie.errors import InputError
from bertie.messages import printable
from bertie.progress import logger


class Lines:
    """Writes records as JSON lines, to a file or to standard output."""

    def __init__(self, file: IO[str] | None = None, later: Sequence[str] = ()) -> None:
        self.file, self.later = file, later  # later: fields that a later record may have and the first may lack

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
    """Writes records as CSV or TSV; the columns are the first one's fields, and those that are ``later`` ones."""

    def __init__(self, file: IO[str] | None = None, later: Sequence[str] = (), delimiter: str = ",") -> None:
        super().__init__(file, later)
        self._delimiter = delimiter
        self._writer: Any = None

    def write(self, record: dict[str, Any]) -> None:
        """Write one record, and before the first the columns' names."""
        if self._writer is None:
            columns = list(dict.fromkeys([*record, *self.later]))
            options: dict[str, Any] = {"delimiter": self._delimiter, "extrasaction": "ignore", "lineterminator": "\n"}
            self._writer = csv.DictWriter(self.file or sys.stdout, columns, **options)
            self._writer.writeheader()
        self._writer.writerow({name: _cell(value) for name, value in record.items()})


class Conll(Lines):
    """Writes records of words as CoNLL: a line a word, with tabs, and a blank line a sentence.

    Lists of a value a word are columns, ``predicted_tags`` the last; other fields stand in comments before them.
    """

    def write(self, record: dict[str, Any]) -> None:
        """Write one sentence."""
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

    def __init__(self, file: IO[str] | None = None, later: Sequence[str] = ()) -> None:
        super().__init__(file, later)
        self._answers: dict[str, str] = {}

    def write(self, record: dict[str, Any]) -> None:
        """Take in an answer."""
        number = next((record[name] for name in ("id", "qid", "question_id", "guid") if record.get(name)), None)
        if number is None:
            raise InputError("--to squad needs an 'id' of each question.")
        if str(number) in self._answers:
            raise InputError(f"Two questions have the id {number!r}; --to squad needs one of its own for each.")
        self._answers[str(number)] = record["answer"] if "answer" in record else record["answers"][0]["answer"]

    def end(self) -> None:
        """Write the answers."""
        super().write(self._answers)


_WRITERS: dict[str, Callable[[IO[str] | None, Sequence[str]], Lines]] = {
    "jsonl": Lines,
    "csv": Table,
    "tsv": partial(Table, delimiter="\t"),
    "conll": Conll,
    "squad": Squad,
}
FORMS = ("jsonl", "csv", "tsv")
"""What any records can be written as."""
FORM_OF_SUFFIX = {".ndjson": "jsonl", **{f".{form}": form for form in _WRITERS if form != "squad"}}


def beside(row: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return a row with an answer behind it; what both have is the answer's, and the row's is called ``input_…``."""
    return {f"input_{name}" if name in answer else name: value for name, value in row.items()} | answer


def form_of_output(output: Path | None, to: str | None = None, more: Sequence[str] = ()) -> str:
    """Return the form in which records are written: the one that the user names, or that the file's name ends in."""
    forms = (*FORMS, *more)
    if to is not None and to not in forms:
        raise InputError(f"--to is {to!r}; answers are written as {', '.join(forms[:-1])} or {forms[-1]}.")
    if to is not None or output is None or not output.suffix:
        return to or "jsonl"
    form = FORM_OF_SUFFIX.get(output.suffix.lower())
    if form in forms:
        return form
    endings = ", ".join(suffix for suffix, other in FORM_OF_SUFFIX.items() if other in forms)
    logger.warning("%s is written as JSON lines; other forms follow from the endings %s.", output, endings)
    return "jsonl"


def writer(form: str, file: IO[str] | None = None, later: Sequence[str] = ()) -> Lines:
    """Return what writes records in a form of `form_of_output`; the rest as for `Lines`."""
    return _WRITERS[form](file, later)


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
