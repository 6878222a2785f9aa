"""``bertie demo``: a novel searched by meaning, then a model of one's own, for someone who never heard of BERT."""

import lzma
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertie.cli import demo_films, options
from bertie.cli.opening import open_pipeline
from bertie.writing import printable

if TYPE_CHECKING:
    from rich.console import Console

BOOK = "treasure_island.txt.xz"
QUESTIONS = (
    "What does the parrot say?",
    "They drank too much alcohol.",
    "fine weather for sailing",
    "I am frightened.",
)
HITS = 3
WIDTH = 96


@dataclass(frozen=True)
class Figures:
    """What the indexing of the book took."""

    texts: int
    tokens: int
    seconds: float
    padding: float
    where: str


def demo(
    questions: Annotated[
        list[str] | None, typer.Argument(help="Your own questions to the book; then nothing is trained.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The new folder of the model; the default is ./bertie-demo.")
    ] = None,
    model: options.Model = None,
    device: options.Device = None,
    batch_tokens: options.BatchTokens = None,
) -> None:
    """Search a novel by meaning, then train a model to tell praise from complaint. Takes about two minutes."""
    from rich.console import Console

    from bertie.pipelines import SearchIndex

    console = Console(highlight=False, width=min(WIDTH, Console().width))
    book = read_book()
    console.print(_introduction(len(book)), markup=True)
    pipe = open_pipeline("embed", model, device, batch_tokens, None)
    pipe(book[:8])  # the first call of a process also warms it up
    start = time.perf_counter()
    index = SearchIndex(book, pipe)
    seconds = time.perf_counter() - start
    for question in questions or QUESTIONS:
        _show(console, question, index.search(question, HITS))
    console.print(_closing(_figures(book, pipe, seconds)), markup=True)
    if not questions:
        demo_films.learn(console, out, model, device)


def read_book() -> list[str]:
    """Return the sentences of the book, in order."""
    packed = files("bertie.cli").joinpath(BOOK).read_bytes()
    return lzma.decompress(packed).decode("utf-8").splitlines()


def _figures(book: list[str], pipe: Any, seconds: float) -> Figures:
    from bertie.batching import padding_share

    lengths = pipe.codec.encode(book).lengths
    where = (
        f"{pipe.computing.threads} CPU threads" if pipe.computing.device_type == "cpu" else f"the device {pipe.device}"
    )
    return Figures(len(book), sum(lengths), seconds, padding_share(lengths), where)


def _introduction(count: int) -> str:
    return (
        "[bold]A book searched by meaning[/bold]\n"
        f"The book is Treasure Island (R. L. Stevenson, 1883), cut into {count:,} sentences. BERT, a language model, "
        "reads each one and turns it into a list of numbers, such that like meanings get like numbers. What you ask "
        "becomes numbers too, and the nearest sentences are found, with or without a word in common. "
        "1.00 would be the very same meaning.\n"
    )


def _closing(figures: Figures) -> str:
    rate = figures.texts / figures.seconds
    return (
        f"[bold]{rate:,.0f} sentences a second:[/bold] {figures.texts:,} sentences ({figures.tokens:,} word pieces) "
        f"in {figures.seconds:.1f} s on {figures.where}.\n"
        f"[bold]{figures.padding:.0%} of the usual work never done:[/bold] programs commonly take 32 sentences at a "
        "time and fill the short ones up to the longest; bertie computes no filling.\n"
        'Ask the book yourself: [bold]bertie demo "How long was he alone on the island?"[/bold]'
    )


def _show(console: "Console", question: str, hits: list[Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(printable(question), style="bold cyan"))
    table = Table.grid(padding=(0, 1))
    for hit in hits:
        table.add_row(Text(f"  {hit.score:.2f}", style="green"), Text(printable(_shortened(hit.text, 2 * WIDTH - 30))))
    console.print(table)
    console.print()


def _shortened(text: str, most: int) -> str:
    if text.count('"') % 2:  # the other mark is in another sentence
        text = text.strip('"')
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"
