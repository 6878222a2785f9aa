"""Where commands write, and the loop of those that answer text by text: read, answer in batches, write."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typer import Option

from bertie.cli.reading import Asked, InputOptions
from bertie.errors import InputError, Stopped, counted, plural
from bertie.files import atomic
from bertie.progress import logger
from bertie.writing import Lines, output_format, with_answer, writer

if TYPE_CHECKING:
    import numpy as np

    from bertie.pipelines import Pipeline


@contextmanager
def answers_in(output: Path | None, *inputs: Path | None) -> Iterator[None]:
    """Redirect the block's standard output to a file, which appears once the block ends well."""
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
    """Refuse to write over what is read."""
    for path in inputs:
        if path is not None and output.exists() and path.exists() and output.samefile(path):
            raise InputError(f"--output {str(output)!r} is the file that is read; name another.")


def numbers(vector: "np.ndarray[Any, Any]") -> list[float]:
    """Return a float32 vector as the shortest numbers that name the same float32 values."""
    return vector.astype(str).astype(float).tolist()


def write_array(path: Path, compute: Callable[[], "np.ndarray[Any, Any]"]) -> "np.ndarray[Any, Any]":
    """Write the array that ``compute`` returns to a .npy file, which holds its old content or all of the new."""
    import numpy

    with _all_of(path) as temporary:
        array = compute()
        with temporary.open("wb") as file:
            # not numpy.save, which writes past Python and cannot say why it failed
            numpy.lib.format.write_array_header_1_0(file, numpy.lib.format.header_data_from_array_1_0(array))
            file.write(numpy.ascontiguousarray(array).data)
    return array


def written_as(forms: str) -> Any:
    """Return the option that names the form of answers."""
    return Option("--to", help=f"What to write: {forms}; the default is what the name of --output ends in.")


@dataclass(frozen=True)
class OutputOptions:
    """Where the answers go, and in which form."""

    output: Annotated[
        Path | None,
        Option("--output", "-o", help="Write the answers to this file, which is replaced when all are there."),
    ] = None
    to: Annotated[str | None, written_as("jsonl, csv, tsv or parquet")] = None
    # forms that the command has besides those of all
    more: ClassVar[tuple[str, ...]] = ()

    def writer(self) -> Lines:
        form = output_format(self.output, self.to, self.more)
        if form == "parquet" and self.output is None and sys.stdout is not None and sys.stdout.isatty():
            raise InputError("Parquet is nothing for a terminal; name a file with --output.")
        return writer(form)

    def write(
        self,
        pipe: "Pipeline",
        source: InputOptions,
        asked: Iterator[Asked],
        name: str,
        show: Callable[[Any, Any], Any] = lambda _, answer: answer,
        read: Sequence[Path | None] = (),
    ) -> None:
        """Write the answer to each text after the row it stands in.

        Answers that are no mappings are called ``name``, as ``show`` gives them of a text and its answer. Texts that a
        person types are answered one by one. ``read`` names more files that are read.
        """
        out = self.writer()
        cut = total = 0
        asked, rows = tee(asked)
        chunk = {"chunk": 1} if source.is_interactive() else {}
        with answers_in(self.output, source.input, *read):
            for answered in pipe.stream((one.text for one in asked), **chunk):
                text, row, _ = next(rows)
                shown = show(text, answered.answer)
                out.write(with_answer(row, (shown if isinstance(shown, dict) else {name: shown}) | answered.marks))
                cut, total = cut + (answered.truncated > 0), total + 1
                if chunk:
                    sys.stdout.flush()
            out.end()
        if cut:
            were = plural(cut, "was", "were")
            logger.warning(
                "%d of %s %s longer than %d tokens and %s cut",
                *(cut, counted(total, "text"), were, pipe.codec.limit, were),
            )


@dataclass(frozen=True)
class ShardedOutput(OutputOptions):
    """`OutputOptions`, and whether a cluster answers."""

    ray: Annotated[
        bool,
        Option("--ray", help="Answer a file in shards, on a Ray cluster; --output is their folder, to resume."),
    ] = False
