"""``bertie bench``: bertie beside its peers, on one's own model and texts."""

import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bertie.cli import options
from bertie.cli.reading import read_texts
from bertie.errors import InputError
from bertie.writing import printable

if TYPE_CHECKING:
    from bertie.bench.results import Comparison

# a sample is drawn from so many texts at most
_READ = 100_000


def bench(
    model: options.Model = None,
    input: options.Input = None,
    task: Annotated[
        str | None, typer.Option("--task", help="embed or classify; the default: as the model says.")
    ] = None,
    measure: Annotated[
        str, typer.Option("--measure", help="throughput (all texts), latency (each alone) or start (first answer).")
    ] = "throughput",
    engines: Annotated[
        str | None, typer.Option("--engines", help="Names or patterns, with commas: 'bertie*,ONNX*'. Default: all.")
    ] = None,
    texts: Annotated[int, typer.Option("--texts", min=1, help="Texts in a round; of more, a sample is drawn.")] = 256,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each engine is timed.")] = 3,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="For each engine; the default: one a processor.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:1.")] = "cpu",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts in a peer's batch.")] = 32,
    max_length: options.MaxLength = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write all figures to this JSON file.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw them into this PNG file.")] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="The folder that keeps peers' converted models.")
    ] = None,
    column: options.Column = "text",
    format: options.Format = None,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Time the kernels of linear layers here instead, and keep the fastest.")
    ] = False,
) -> None:
    """Compare bertie with the peers that are installed: speed, memory, and how equal the answers are.

    Each engine runs in a process of its own, in turn, with equal threads. Its answers are compared with those of
    transformers in float32 before it is timed. The default model is all-MiniLM-L6-v2.
    """
    if kernels:
        _time_kernels()
        return
    given = _given(input, format, column)
    from bertie.bench.engines.table import chosen
    from bertie.bench.own import own_workload
    from bertie.bench.plot import why_no_plot
    from bertie.bench.run import compare
    from bertie.hub import default_embedding_model

    if plot is not None and (why := why_no_plot()):
        raise InputError(why)
    asked = chosen(engines.split(",") if engines else [])
    workload = own_workload(
        model or default_embedding_model(),
        given,
        task=task,
        measure=measure,
        most=texts,
        max_length=max_length,
        batch_size=batch_size,
        rounds=rounds,
    )
    found = compare(workload, asked, threads=threads, device=device, cache=cache or _cache(), tell=_tell)
    _show(found, output, plot)


def _given(input: Path | None, format: str | None, column: str) -> list[str]:
    given = [_one(text) for text in islice(read_texts(None, input, format, column), _READ) if text]
    if not given:
        raise InputError("There is no text to run; give a file with --input, or texts on standard input.")
    return given


def _time_kernels() -> None:
    """Print what each kernel does on this machine, and have the fastest chosen from now on."""
    from bertie.bench.kernels import fastest_of, table, time_kernels
    from bertie.layers.measured import remember

    timed = time_kernels()
    print(table(timed))
    _tell(f"The fastest of each dtype are kept in {remember(fastest_of(timed))}; delete it to undo that.")


def _show(found: "Comparison", output: Path | None, plot: Path | None) -> None:
    """Print the table, and write the files that were asked for."""
    from bertie.bench import report
    from bertie.bench.plot import plot as draw
    from bertie.bench.results import write_results

    print(_printable_lines(report.section(found)))
    print(f"\n{report.LEGEND}")
    if output is not None:
        write_results(output, [found])
    if plot is not None:
        draw([found], plot)


def _printable_lines(text: str) -> str:
    """Return ``text`` with its control characters made harmless, line by line."""
    return "\n".join(map(printable, text.splitlines()))


def _one(text: str | tuple[str, str]) -> str:
    assert isinstance(text, str)  # no column of pairs was asked for
    return text


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bertie" / "bench"


def _tell(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
