"""The second half of ``bertie demo``: labelled sentences become a model, its quality, and a folder to look into."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie.report import quietly
from bertie.writing import printable

if TYPE_CHECKING:
    from rich.console import Console

    from bertie.finetuning import Finetuned

PARTS = ("film_sentences_train.csv.xz", "film_sentences_dev.csv.xz")
SETTINGS: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-4, "batch_size": 16, "evaluate_every": 45}
FOLDER = "bertie-demo"
SENTENCES = (
    "Funny, warm and wise.",
    "Two hours of my life that I will not get back.",
    "A moving film, beautifully acted.",
)


def learn(console: "Console", out: Path | None, model: str | None, device: str | None) -> None:
    """Fine-tune a model on the sentences that come with bertie, and show what came of it."""
    import bertie
    from bertie.hub import default_embedding_model

    folder = out or _free(FOLDER)
    console.print(_introduction(folder), markup=True)
    with sample() as (train, dev), quietly():
        result = bertie.finetune(
            "sequence-classification",
            train,
            dev=dev,
            model=model or default_embedding_model(),
            out=folder,
            device=device,
            settings=bertie.Settings(**SETTINGS),
        )
    if result is None:  # another process shows it
        return
    rows = json.loads((folder / "figures.json").read_text(encoding="utf-8"))["rows"]
    _show_quality(console, result, rows)
    _show_answers(console, result)
    _show_folder(console, folder)


@contextmanager
def sample() -> Iterator[tuple[Path, ...]]:
    """Yield the files of the sample, to learn from and to be scored on, wherever the package lies."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(as_file(files("bertie.cli").joinpath(name))) for name in PARTS)


def _free(name: str) -> Path:
    """Return a path of this name, or with a number behind it, where nothing is yet."""
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(path for path in map(Path, names) if not path.exists())


def _introduction(folder: Path) -> str:
    from rich.markup import escape

    return (
        "\n[bold]A model of one's own[/bold]\n"
        "The same BERT now learns to tell praise from complaint: it reads 2,400 sentences of film reviews (Pang & Lee "
        "2005), each labelled positive or negative. That takes about a minute on two cores. Everything about it goes "
        f"into the new folder [bold]{escape(printable(str(folder)))}[/bold] (about 90 MB; delete it whenever you like)."
    )


def _show_quality(console: "Console", result: "Finetuned", rows: int) -> None:
    accuracy, interval = result.figures["accuracy"], result.intervals["accuracy"]
    if accuracy is None or interval is None:
        return
    low, high = interval
    console.print(
        f"\n[bold]{accuracy:.1%} right[/bold] on {rows} sentences it had never seen, after "
        f"{result.history.seconds:.0f} s of learning. On another {rows} it would most likely be {low:.1%} to "
        f"{high:.1%} (95 % interval); guessing gets half of them.\n"
    )


def _show_answers(console: "Console", result: "Finetuned") -> None:
    from rich.text import Text

    for sentence, answer in zip(SENTENCES, result.pipeline(list(SENTENCES)), strict=True):
        line = Text(f"  {answer['score']:.2f} {answer['label']:<10}", style="green")
        console.print(line.append(sentence, style="default"))


def _show_folder(console: "Console", folder: Path) -> None:
    from bertie.extras import missing

    console.print()
    named = {
        "report.md": "how good it is, and the sentences it got most wrong",
        "curves.png": "how it learned, step by step",
        "confusion.png": "what was taken for what",
    }
    for name, what in named.items():
        if (folder / name).exists():
            console.print(f"  {printable(str(folder / name))}: {what}", markup=False, soft_wrap=True)
    if why := missing("matplotlib.figure", "train", "Drawing the plots"):
        console.print(f"  {why}", markup=False)
    commands = (
        ("Use it:", f'bertie classify "What a bore." --model {printable(str(folder))}'),
        ("Your own:", "bertie finetune sequence-classification --train yours.csv --model MODEL --out runs/first"),
    )
    for title, command in commands:
        console.print(f"{title:<10}{command}", markup=False, style="bold", soft_wrap=True)
