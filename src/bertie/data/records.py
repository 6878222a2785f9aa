"""Reads the rows of a source: its files or object, each by the reader for its format, name or type."""

import glob
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeGuard

from bertie.data.brat import brat_records
from bertie.data.conll import conll_records
from bertie.data.documents import json_lines, json_records, plain_lines
from bertie.data.format import Format
from bertie.data.lines import Lines, open_bytes, plain_suffix
from bertie.data.objects import object_records
from bertie.data.record import BadRows, Record
from bertie.data.tables import csv_records, parquet_records, tsv_records
from bertie.errors import InputError, nearest
from bertie.hub import sha256
from bertie.messages import listed

_READERS: dict[str, Callable[[Lines], Iterator[Record]]] = {
    "lines": plain_lines,
    "jsonl": json_lines,
    "csv": csv_records,
    "tsv": tsv_records,
    "json": json_records,
    "squad": json_records,
    "conll": conll_records,
}
FORMS = (*_READERS, "brat", "parquet")
_SUFFIXES = {
    "csv": ".csv",
    "tsv": ".tsv .tab",
    "jsonl": ".jsonl .ndjson",
    "json": ".json",
    "conll": ".conll .conllu .bio .iob",
    "brat": ".ann",
    "parquet": ".parquet .pq",
}
_OF_SUFFIX = {suffix: form for form, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
# splits of a data set, which are never meant to be read together
_PARTS = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "test": "test"}
# a JSON document is often a single line, longer than the lines of other files
_DOCUMENT_LIMIT = 2**32


class Records(Iterator[Record]):
    """The rows of a source, one by one; ``notes``, complete after the last row, say what was guessed about files."""

    def __init__(self, rows: Iterator[Record], notes: list[str] | None = None) -> None:
        self._rows = rows
        self.notes: list[str] = [] if notes is None else notes

    def __next__(self) -> Record:
        return next(self._rows)


def records(
    source: object,
    form: str | Format | None = None,
    bad: BadRows | None = None,
    *,
    name: str | None = None,
    default: str = "lines",
) -> Records:
    """Return the rows of ``source``, one by one; memory does not grow with them (JSON documents excepted).

    Args:
        source: the path of a file (.gz, .bz2, .xz and .zst are decompressed), a folder of files, a pattern such as
            ``train-*.jsonl``, a list of these, a ``datasets.Dataset``, a DataFrame, or any iterable of dicts. Several
            files are read one after the other, those of a folder or pattern sorted by name.
        form: one of `FORMS`, or a `Format` that also states delimiter, encoding and quoting; None infers all of it.
        bad: collects rows that cannot be read; None makes the first of them an error.
        name: the name of an object, which has no file name, in messages.
        default: the form of a file whose name does not show one.
    """
    bad, written = bad or BadRows(), Format.of(form)
    if not is_paths(source):
        return Records(object_records(source, bad, name))
    notes: list[str] = []
    form_of(Path(), written.name)
    return Records(_of_files(source, written, bad, default, notes), notes)


def stream_records(stream: IO[bytes], name: str, form: str | Format, bad: BadRows | None = None) -> Records:
    """Return the rows of an open stream, such as standard input, as they arrive; ``name`` is for messages."""
    notes: list[str] = []
    written = Format.of(form)
    return Records(_of_stream(stream, name, written.name or "", written, bad or BadRows(), notes), notes)


def form_of(path: Path, form: str | None = None, default: str = "lines") -> str:
    """Return ``form``, or the form that the name of the file shows."""
    if form is None:
        return _OF_SUFFIX.get(plain_suffix(path), default)
    if form not in FORMS:
        raise InputError(f"There is no format {form!r}; choose one of {', '.join(FORMS)}.{nearest(form, FORMS)}")
    return form


def _of_files(source: Paths, written: Format, bad: BadRows, default: str, notes: list[str]) -> Iterator[Record]:
    files = files_of(source, _OF_SUFFIX)
    if len(files) > 1:
        notes.append(f"{len(files)} files are read as one: {listed(list(map(str, files)), 5, str)}.")
    for path in files:
        form = form_of(path, written.name, default)
        if form == "parquet":
            yield from parquet_records(path)
        elif form == "brat":
            yield from brat_records(path, bad, written, notes)
        else:
            with open_bytes(path) as stream:
                yield from _of_stream(stream, str(path), form, written, bad, notes)


def _of_stream(
    stream: IO[bytes], name: str, form: str, written: Format, bad: BadRows, notes: list[str]
) -> Iterator[Record]:
    read = _READERS.get(form)
    if read is None:
        raise InputError(f"{name} cannot be read as {form}, which needs a file; forms are {', '.join(_READERS)}.")
    limit = {"limit": _DOCUMENT_LIMIT} if read is json_records else {}
    return read(Lines(stream, name, bad, written, notes, **limit))


def is_paths(source: object) -> TypeGuard[Paths]:
    """Whether a source is a path or a list of paths."""
    if isinstance(source, list | tuple):
        return bool(source) and all(isinstance(one, str | os.PathLike) for one in source)
    return isinstance(source, str | os.PathLike)


def path_names(source: Paths) -> str:
    return ", ".join(map(str, _listed(source)))


def _listed(source: Paths) -> Sequence[str | os.PathLike[str]]:
    return [source] if isinstance(source, str | os.PathLike) else source


def files_of(source: Paths, suffixes: Collection[str]) -> list[Path]:
    """Return the files of a source in the order of reading; those of a folder or a pattern are sorted by name."""
    return [file for path in _listed(source) for file in _files(Path(path), suffixes)]


def digests_of(source: object) -> dict[str, str]:
    """Return the SHA-256 of each file of a source; none for an object, or for a pipe, which can be read only once."""
    found = files_of(source, _OF_SUFFIX) if is_paths(source) else []
    return {str(file): sha256(file) for file in found if file.is_file()}


def _files(path: Path, suffixes: Collection[str]) -> list[Path]:
    if path.is_dir():
        return _of_folder(path, suffixes)
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    if not found:
        raise InputError(f"No file matches the pattern {str(path)!r}.")
    return found


def _of_folder(folder: Path, suffixes: Collection[str]) -> list[Path]:
    if (folder / "dataset_info.json").exists():
        raise InputError(f"{str(folder)!r} is a saved datasets.Dataset: give the result of datasets.load_from_disk.")
    here = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    annotated = [path for path in here if path.suffix == ".ann"]
    known = annotated or [path for path in here if plain_suffix(path) in suffixes]
    found = known or [path for path in here if plain_suffix(path) == ".txt"]
    if not found:
        raise InputError(f"The folder {str(folder)!r} has no data files ({', '.join(suffixes)}).")
    parts = {part for path in found for part in [_PARTS.get(path.name.split(".")[0].split("-")[0].lower())] if part}
    if len(parts) > 1:
        raise InputError(
            f"The folder {str(folder)!r} holds {' and '.join(sorted(parts))}; name one of its files, or a pattern such "
            "as 'train*'."
        )
    return found
