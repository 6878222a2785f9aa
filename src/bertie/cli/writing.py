"""What commands write: lines that no terminal takes for commands, and vectors in one file."""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie.errors import InputError, Stopped
from bertie.files import atomic

if TYPE_CHECKING:
    import numpy as np

# Control characters (ESC, which begins a terminal's commands, among them), and those that reorder or end lines.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return ``text`` with control characters as ``\\uXXXX``, so that a terminal shows them and obeys none."""
    return _CONTROL.sub(_escaped, text)


def write_line(record: dict[str, Any]) -> None:
    """Write one JSON line to standard output."""
    sys.stdout.write(printable(json.dumps(record, ensure_ascii=False, allow_nan=False, default=str)) + "\n")


class Lines:
    """Writes records to standard output as JSON lines."""

    def write(self, record: dict[str, Any]) -> None:
        """Write one record."""
        write_line(record)

    def end(self) -> None:
        """Write what comes after the last record."""


class Table(Lines):
    """Writes records to standard output as CSV; the first one's fields, ``truncated`` and ``empty`` are the columns.

    What is no single value stands in its cell as JSON; a field that comes up later has no column and is left out.
    """

    def __init__(self) -> None:
        self._writer: Any = None

    def write(self, record: dict[str, Any]) -> None:
        """Write one record, and before the first the columns' names."""
        if self._writer is None:
            columns = list(dict.fromkeys([*record, "truncated", "empty"]))
            self._writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
            self._writer.writeheader()
        self._writer.writerow({name: _cell(value) for name, value in record.items()})


class Conll(Lines):
    """Writes records of words to standard output as CoNLL: a line a word, with tabs, and a blank line a sentence.

    Lists of a value a word are columns, ``predicted_tags`` the last; other fields stand in comments before them.
    """

    def write(self, record: dict[str, Any]) -> None:
        """Write one sentence.

        Raises:
            InputError: it has no words.
        """
        tags = record.pop("predicted_tags", None)
        if tags is None:
            raise InputError("--to conll writes words; give them as CoNLL, or as lists in a field 'words'.")
        columns = [value for value in record.values() if isinstance(value, list) and len(value) == len(tags)]
        for name, value in record.items():
            if not any(value is column for column in columns):
                sys.stdout.write(f"# {printable(name)} = {printable(json.dumps(value, ensure_ascii=False))}\n")
        for cells in zip(*columns, tags, strict=True):
            sys.stdout.write("\t".join(printable(str(cell)) for cell in cells) + "\n")
        sys.stdout.write("\n")


class Squad(Lines):
    """Writes one JSON object to standard output: the id of each question and its answer, as SQuAD's script reads it."""

    def __init__(self) -> None:
        self._answers: dict[str, str] = {}

    def write(self, record: dict[str, Any]) -> None:
        """Take in an answer.

        Raises:
            InputError: its question has no id, or that of another.
        """
        number = next((record[name] for name in ("id", "qid", "question_id", "guid") if record.get(name)), None)
        if number is None:
            raise InputError("--to squad needs an 'id' of each question.")
        if str(number) in self._answers:
            raise InputError(f"Two questions have the id {number!r}; --to squad needs one of its own for each.")
        self._answers[str(number)] = record["answer"] if "answer" in record else record["answers"][0]["answer"]

    def end(self) -> None:
        """Write the answers."""
        write_line(self._answers)


_WRITERS = {"jsonl": Lines, "csv": Table, "conll": Conll, "squad": Squad}


def writer(to: str, more: Sequence[str] = ()) -> Lines:
    """Return what writes records to standard output in a form: "jsonl", "csv", or one of ``more``.

    Raises:
        InputError: the form is another.
    """
    forms = ("jsonl", "csv", *more)
    if to not in forms:
        raise InputError(f"--to is {to!r}; answers are written as {', '.join(forms[:-1])} or {forms[-1]}.")
    return _WRITERS[to]()


@contextmanager
def answers_in(output: Path | None, *inputs: Path | None) -> Iterator[None]:
    """Let what the block writes to standard output stand in a file instead, once the block has ended well.

    Raises:
        InputError: the file is one of the inputs; or none is named, and standard output is closed.
        CheckpointError: it cannot be written; said before the block begins.
    """
    if output is None:
        if sys.stdout is None:
            raise InputError("Standard output is closed; name a file for the answers with --output.")
        yield
        return
    refuse_input(output, *inputs)
    with _all_of(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file, redirect_stdout(file):
        yield


@contextmanager
def _all_of(output: Path) -> Iterator[Path]:
    """As `atomic`, saying what becomes of the file if the block is stopped."""
    try:
        with atomic(output) as temporary:
            yield temporary
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "exit_code", 130) - 128
        raise Stopped(f"Stopped before all was there; {str(output)!r} is as it was.", number) from stopped


def refuse_input(output: Path, *inputs: Path | None) -> None:
    """Refuse to write over what is read.

    Raises:
        InputError: the output is one of the inputs, by whatever name.
    """
    for path in inputs:
        if path is not None and output.exists() and path.exists() and output.samefile(path):
            raise InputError(f"--output {str(output)!r} is the file that is read; name another.")


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return _CONTROL.sub(lambda found: found[0] if found[0] in "\n\t" else _escaped(found), value)
    return printable(json.dumps(value, ensure_ascii=False)) if isinstance(value, dict | list) else value


def numbers(vector: "np.ndarray[Any, Any]") -> list[float]:
    """Return a float32 vector as the shortest numbers that name the same float32 values."""
    return vector.astype(str).astype(float).tolist()


def write_array(path: Path, compute: Callable[[], "np.ndarray[Any, Any]"]) -> "np.ndarray[Any, Any]":
    """Write the array that ``compute`` returns to a .npy file, which holds its old content or all of the new.

    Raises:
        CheckpointError: the file cannot be written; said before anything is computed.
    """
    import numpy

    with _all_of(path) as temporary:
        array = compute()
        with temporary.open("wb") as file:
            # not numpy.save, which writes past Python and cannot say why it failed
            numpy.lib.format.write_array_header_1_0(file, numpy.lib.format.header_data_from_array_1_0(array))
            file.write(numpy.ascontiguousarray(array).data)
    return array


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
