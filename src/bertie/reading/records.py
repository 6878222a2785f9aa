"""The way in: which reader a source needs, by its form, its name or its kind."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from bertie.errors import InputError, nearest
from bertie.reading.conll import conll_records
from bertie.reading.documents import json_records
from bertie.reading.lines import Lines, open_bytes, plain_suffix
from bertie.reading.objects import object_records
from bertie.reading.one_a_line import json_lines, plain_lines
from bertie.reading.parquet import parquet_records
from bertie.reading.record import BadRows, Record
from bertie.reading.tables import csv_records, tsv_records

_READERS: dict[str, Callable[[Lines, BadRows], Iterator[Record]]] = {
    "lines": plain_lines,
    "jsonl": json_lines,
    "csv": csv_records,
    "tsv": tsv_records,
    "json": json_records,
    "squad": json_records,
    "conll": conll_records,
}
FORMS = (*_READERS, "parquet")
_OF_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".conll": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".parquet": "parquet",
    ".pq": "parquet",
}
# a document stands on one line as often as not; no other line is this long
_DOCUMENT_LIMIT = 2**32


def records(
    source: Any, form: str | None = None, bad: BadRows | None = None, *, name: str | None = None, default: str = "lines"
) -> Iterator[Record]:
    """Return the rows of ``source``, one by one; memory does not grow with them (JSON documents excepted).

    Args:
        source: a file's path (with .gz, .bz2 or .xz it is unpacked as it is read), a ``datasets.Dataset``, a pandas
            DataFrame, or any iterable of dicts.
        form: one of `FORMS`; None takes it from the file's name.
        bad: takes rows that cannot be read; None makes the first of them an error.
        name: what to call an object, which has no file name, in messages.
        default: the form of a file whose name says none.

    Raises:
        InputError: no such form or file, or while rows are read: a bad one, with its file and line.
        InputTypeError: ``source`` holds no rows.
        BertieError: Parquet without pyarrow.
    """
    bad = bad or BadRows()
    if not isinstance(source, str | os.PathLike):
        return object_records(source, bad, name)
    path = Path(source)
    kind = form_of(path, form, default)
    return parquet_records(path) if kind == "parquet" else _file_records(path, kind, bad)


def stream_records(stream: IO[bytes], name: str, form: str, bad: BadRows | None = None) -> Iterator[Record]:
    """Return the rows of an open stream as they come, for instance of standard input; ``name`` is for messages.

    Raises:
        InputError: as for `records`; or a form that needs a file.
    """
    if form not in _READERS:
        raise InputError(f"{name} cannot be read as {form}, which needs a file; forms are {', '.join(_READERS)}.")
    bad = bad or BadRows()
    limit = {"limit": _DOCUMENT_LIMIT} if _READERS[form] is json_records else {}
    return _READERS[form](Lines(stream, name, bad, **limit), bad)


def form_of(path: Path, form: str | None = None, default: str = "lines") -> str:
    """Return ``form``, or what the name of the file says.

    Raises:
        InputError: there is no such form.
    """
    if form is None:
        return _OF_SUFFIX.get(plain_suffix(path), default)
    if form not in FORMS:
        raise InputError(f"There is no format {form!r}; choose one of {', '.join(FORMS)}.{nearest(form, FORMS)}")
    return form


def _file_records(path: Path, form: str, bad: BadRows) -> Iterator[Record]:
    with open_bytes(path) as stream:
        yield from stream_records(stream, str(path), form, bad)
