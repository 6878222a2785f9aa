"""Output of commands, and the loop of those that answer text by text: read, answer in batches, write."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typer import Option

from bertie.cli.reading import InputOptions, InputRow
from bertie.errors import InputError, Stopped, counted, plural
from bertie.files import atomic
from bertie.progress import logger
from bertie.writing import Lines, output_format, with_answer, writer

if TYPE_CHECKING:
    import numpy as np

    from bertie.pipelines import Pipeline


@contextmanager
def redirect_answers(output: Path | None, *inputs: Path | None) -> Iterator[None]:
    """Redirect the block's standard output to a file, which appears only if the block succeeds."""
    if output is None:
        if sys.stdout is None:
            raise InputError("Standard output is closed; name a file for the answers with --output.")
        yield
        return
    refuse_input(output, *inputs)
    with (
        _atomic_output(output) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
        redirect_stdout(file),
    ):
        yield


@contextmanager
def _atomic_output(output: Path) -> Iterator[Path]:
    """As `atomic`, with a message about the file if the block is interrupted."""
    try:
        with atomic(output) as temporary:
            yield temporary
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "exit_code", 130) - 128
        raise Stopped(f"Stopped before all answers were written; {str(output)!r} is unchanged.", number) from stopped


def refuse_input(output: Path, *inputs: Path | None) -> None:
    """Refuse to overwrite an input file."""
    for path in inputs:
        if path is not None and output.exists() and path.exists() and output.samefile(path):
            raise InputError(f"--output {str(output)!r} is also the input; name another file.")


def shortest_floats(vector: "np.ndarray[Any, Any]") -> list[float]:
    """Return a float32 vector as the floats with the shortest decimals that round to the same float32 values."""
    return vector.astype(str).astype(float).tolist()


def write_array(path: Path, compute: Callable[[], "np.ndarray[Any, Any]"]) -> "np.ndarray[Any, Any]":
    """Write the array that ``compute`` returns to a .npy file, atomically."""
    import numpy

    with _atomic_output(path) as temporary:
        array = compute()
        with temporary.open("wb") as file:
            # numpy.save bypasses Python's file object and hides why a write failed
            numpy.lib.format.write_array_header_1_0(file, numpy.lib.format.header_data_from_array_1_0(array))
            file.write(numpy.ascontiguousarray(array).data)
    return array


def format_option(forms: str) -> Any:
    """Return the option for the format of answers."""
    return Option("--to", help=f"What to write: {forms}; the default is the suffix of --output.")


@dataclass(frozen=True)
class OutputOptions:
    """Where the answers go, and their format."""

    output: Annotated[
        Path | None,
        Option("--output", "-o", help="Write the answers to this file, which is replaced when all are complete."),
    ] = None
    to: Annotated[str | None, format_option("jsonl, csv, tsv or parquet")] = None
    # the command's own formats, besides those of all commands
    extra_forms: ClassVar[tuple[str, ...]] = ()

    def writer(self) -> Lines:
        form = output_format(self.output, self.to, self.extra_forms)
        if form == "parquet" and self.output is None and sys.stdout is not None and sys.stdout.isatty():
            raise InputError("Parquet cannot be shown on a terminal; name a file with --output.")
        return writer(form)

    def write(
        self,
        pipe: "Pipeline",
        source: InputOptions,
        rows: Iterator[InputRow],
        name: str,
        show: Callable[[Any, Any], Any] = lambda _, answer: answer,
        read: Sequence[Path | None] = (),
    ) -> None:
        """Write each text's row with its answer.

        Args:
            pipe: computes the answers.
            source: where the rows come from; texts typed at a terminal are answered one by one.
            rows: the texts and their rows.
            name: the field of answers that are not mappings.
            show: returns what is written, given a text and its answer.
            read: further input files, which the output must not overwrite.
        """
        out = self.writer()
        cut = total = 0
        rows, answered_rows = tee(rows)
        chunk = {"chunk": 1} if source.is_interactive() else {}
        with redirect_answers(self.output, source.input, *read):
            for answered in pipe.stream((row.text for row in rows), **chunk):
                text, row, _ = next(answered_rows)
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
    """`OutputOptions`, and whether to run on a cluster."""

    ray: Annotated[
        bool,
        Option(
            "--ray", help="Answer a file in shards on a Ray cluster; --output is their folder, which can be resumed."
        ),
    ] = False
