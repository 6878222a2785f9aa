"""Where commands write, and the loop of those that answer text by text: read, answer in batches, write."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie.cli.reading import Asked
from bertie.data import beside
from bertie.errors import InputError, Stopped, counted, plural
from bertie.files import atomic
from bertie.writing import Lines, form_of_output, writer

if TYPE_CHECKING:
    import numpy as np


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


def answer_all(
    pipe: Any,
    source: Iterator[Asked],
    interactive: bool,
    form: Callable[[Any, Any], dict[str, Any]],
    to: str | None = None,
    more: Sequence[str] = (),
    output: Path | None = None,
    read: Sequence[Path | None] = (),
) -> None:
    """Write the answer to each row of ``source`` after the row itself.

    Args:
        pipe: the pipeline.
        source: what is asked, one by one.
        interactive: whether a person is typing and each is to be answered at once.
        form: makes a JSON object of a text and its answer.
        to: "jsonl", "csv", "tsv", or one of ``more``; None: as the output's name ends.
        more: other forms of answers that the command has.
        output: the file to write; None: standard output.
        read: the files that the texts come from.

    Raises:
        InputError: ``to`` is something else, or the answers would replace what is read.
        CheckpointError: the file cannot be written.
    """
    out = writer(form_of_output(output, to, more), later=("truncated", "empty"))
    with answers_in(output, *read):
        cut, total = _answer(pipe, source, interactive, form, out)
        out.end()
    if cut:
        limit = pipe.codec.limit
        print(
            f"bertie: {cut} of {counted(total, 'text')} {plural(cut, 'was', 'were')} longer than {limit} tokens and "
            f"{plural(cut, 'was', 'were')} cut",
            file=sys.stderr,
        )


def _answer(
    pipe: Any, source: Iterator[Asked], interactive: bool, form: Callable[[Any, Any], dict[str, Any]], out: Lines
) -> tuple[int, int]:
    """Write all answers; return how many of how many texts were cut."""
    asked, shown = tee(source)
    cut = total = 0
    for answered in pipe.stream((one.text for one in asked), **({"chunk": 1} if interactive else {})):
        marks: dict[str, Any] = {"truncated": answered.truncated} if answered.truncated else {}
        if answered.empty:
            marks["empty"] = True
        text, row = next(shown)
        out.write(beside(row, form(text, answered.answer) | marks))
        cut, total = cut + (answered.truncated > 0), total + 1
        if interactive:
            sys.stdout.flush()
    return cut, total
