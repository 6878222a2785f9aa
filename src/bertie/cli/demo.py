"""``bertie demo``: masked words, a book searched, a model of your own, for someone who has never heard of BERT."""

import json
import shlex
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from bertie.cli import options
from bertie.data.bundled_texts import book_sentences, film_sentences
from bertie.messages import printable
from bertie.progress import quietly

if TYPE_CHECKING:
    from rich.console import Console

    from bertie.finetuning import Finetuned

QUESTIONS = (
    "What does the parrot say?",
    "They drank too much alcohol.",
    "fine weather for sailing",
    "I am frightened.",
)
HITS = 3
MASKED = (
    "She opened the [MASK] and walked into the garden.",
    "He drank a cup of [MASK].",
    "The ship sailed into the [MASK] at dawn.",
)
WIDTH = 96
SETTINGS: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-4, "batch_size": 16, "evaluate_every": 45}
FOLDER = "bertie-demo"
SENTENCES = (
    "Funny, warm and wise.",
    "Two hours of my life that I will not get back.",
    "A moving film, beautifully acted.",
)


MASKS = (
    "[bold]Words filled in[/bold]\n"
    "BERT, a language model, learned English by guessing hidden words. Here a small one, which comes with bertie, "
    "guesses what [MASK] hides, and how likely each word is.\n"
)
INTRODUCTION = (
    "[bold]A book searched by meaning[/bold]\n"
    "The book is Treasure Island (R. L. Stevenson, 1883), cut into {count:,} sentences. Another BERT "
    "turns each of them into a list of numbers, so that similar meanings get similar numbers. Your question becomes "
    "numbers too, and the nearest sentences are found, even if they have no word in common. "
    "1.00 would be the very same meaning.\n"
)
CLOSING = (
    "[bold]{rate:,.0f} sentences a second:[/bold] {count:,} sentences ({tokens:,} word pieces) "
    "in {seconds:.1f} s on {where}.\n"
    "[bold]{padding:.0%} of the usual work avoided:[/bold] programs commonly take 32 sentences at a "
    "time and pad the short ones to the longest; bertie computes no padding.\n"
    'Ask the book yourself: [bold]bertie demo "How long was he alone on the island?"[/bold]'
)
FILMS = (
    "\n[bold]A model of your own[/bold]\n"
    "The BERT that read the book now learns to tell praise from complaint: it reads 2,400 sentences of film reviews "
    "(Pang & Lee 2005), each labelled positive or negative. That takes about a minute on two cores. The results "
    "go into the new folder [bold]{folder}[/bold] (about 90 MB; delete it whenever you like)."
)
QUALITY = (
    "\n[bold]{accuracy:.1%} right[/bold] on {rows} sentences it had never seen, after {seconds:.0f} s of training. On "
    "another {rows} it would most likely be {low:.1%} to {high:.1%} (95 % interval); guessing gets half right.\n"
)
FILES = {
    "report.md": "how good it is, and the sentences it got most wrong",
    "curves.png": "how it learned, step by step",
    "confusion.png": "which label was mistaken for which",
}


def demo(
    questions: Annotated[
        list[str] | None, Argument(help="Your own questions about the book; then nothing is trained.")
    ] = None,
    out: Annotated[
        Path | None, Option("--out", "-o", help="The new folder of the model; the default is ./bertie-demo.")
    ] = None,
    model: options.Model = None,
    device: options.Device = None,
    batch_tokens: options.BatchTokens = None,
) -> None:
    """Fill in masked words, search a novel by meaning, then train a model to tell praise from complaint.

    Takes about two minutes.
    """
    from rich.console import Console

    from bertie.batching import padding_share
    from bertie.pipelines import SearchIndex

    console = Console(highlight=False, width=min(WIDTH, Console().width))
    if not questions:
        _fill(console, device)
    book = book_sentences()
    console.print(INTRODUCTION.format(count=len(book)))
    pipe = options.ModelOptions(model, device, batch_tokens).pipeline("embed")
    pipe(book[:8])  # the first call of a process also warms it up
    start = time.perf_counter()
    index = SearchIndex(book, pipe)
    seconds = time.perf_counter() - start
    for question in questions or QUESTIONS:
        _show(console, question, index.search(question, HITS))
    computing, lengths = pipe.computing, pipe.codec.encode(book).lengths
    console.print(
        CLOSING.format(
            rate=len(book) / seconds,
            count=len(book),
            tokens=sum(lengths),
            seconds=seconds,
            where=f"{computing.threads} CPU threads" if computing.device_type == "cpu" else f"the device {pipe.device}",
            padding=padding_share(lengths),
        )
    )
    if not questions:
        _train(console, out or _unused_path(FOLDER), model, device)


def _fill(console: "Console", device: str | None) -> None:
    from rich.text import Text

    console.print(MASKS)
    answers = options.ModelOptions(device=device).pipeline("fill-mask", top_k=HITS)(list(MASKED))
    for sentence, words in zip(MASKED, answers, strict=True):
        console.print(Text(sentence, style="bold cyan"))
        console.print(
            Text("  " + "   ".join(f"{word['score']:.2f} {word['token_str']}" for word in words), style="green")
        )
    console.print()


def _show(console: "Console", question: str, hits: list[Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(printable(question), style="bold cyan"))
    table = Table.grid(padding=(0, 1))
    for hit in hits:
        table.add_row(Text(f"  {hit.score:.2f}", style="green"), Text(printable(_shortened(hit.text, 2 * WIDTH - 30))))
    console.print(table)
    console.print()


def _shortened(text: str, limit: int) -> str:
    if text.count('"') % 2:  # the matching quotation mark is in another sentence
        text = text.strip('"')
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " …"


def _unused_path(name: str) -> Path:
    """Return a path of this name, with a number appended if it exists."""
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(path for path in map(Path, names) if not path.exists())


def _train(console: "Console", folder: Path, model: str | None, device: str | None) -> None:
    from rich.markup import escape

    import bertie
    from bertie.training import is_first

    console.print(FILMS.format(folder=escape(printable(str(folder)))))
    with film_sentences() as (train, test), quietly():
        result = bertie.finetune(
            "text-classification",
            train,
            test=test,
            model=model,
            out=folder,
            device=device,
            settings=bertie.Settings(**SETTINGS),
        )
    if is_first():
        _show_result(console, result, folder)


def _show_result(console: "Console", result: "Finetuned", folder: Path) -> None:
    from rich.text import Text

    from bertie.extras import missing

    accuracy, interval = result.metrics["accuracy"], result.intervals["accuracy"]
    if accuracy is not None and interval is not None:
        rows = json.loads((folder / "results.json").read_text(encoding="utf-8"))["rows"]
        low, high = interval
        found = {"accuracy": accuracy, "rows": rows, "low": low, "high": high}
        console.print(QUALITY.format(seconds=result.history.seconds, **found))
    for sentence, answer in zip(SENTENCES, result.pipeline(list(SENTENCES)), strict=True):
        line = Text(f"  {answer['score']:.2f} {answer['label']:<10}", style="green")
        console.print(line.append(sentence, style="default"))
    console.print()
    for name, what in FILES.items():
        if (folder / name).exists():
            console.print(f"  {printable(str(folder / name))}: {what}", markup=False, soft_wrap=True)
    if why := missing("matplotlib.figure", "train", "Drawing the plots"):
        console.print(f"  {why}", markup=False)
    commands = (
        ("Use it:", f'bertie classify "What a bore." --model {printable(shlex.quote(str(folder)))}'),
        ("Your own:", "bertie finetune text-classification --train yours.csv --out runs/first"),
    )
    for title, command in commands:
        console.print(f"{title:<10}{command}", markup=False, style="bold", soft_wrap=True)
