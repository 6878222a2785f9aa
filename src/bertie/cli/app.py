"""The Typer application: its commands, and what ``bertie --version`` and ``bertie --help`` say."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

import bertie
from bertie.cli.answer import answer
from bertie.cli.average import average
from bertie.cli.bench import bench
from bertie.cli.choose import choose
from bertie.cli.classify import classify
from bertie.cli.command import Command
from bertie.cli.demo import demo
from bertie.cli.embed import embed
from bertie.cli.evaluate import evaluate
from bertie.cli.fill_mask import fill_mask
from bertie.cli.finetune import finetune
from bertie.cli.inspect import inspect
from bertie.cli.next_sentence import next_sentence
from bertie.cli.options import bound
from bertie.cli.quantize import quantize
from bertie.cli.rerank import rerank
from bertie.cli.search import search
from bertie.cli.spelling import spelling_of
from bertie.cli.tag import tag
from bertie.errors import spelling
from bertie.extras import refuse_without_torch
from bertie.messages import printable

app = typer.Typer(
    name="bertie",
    help="BERT, whole and fast. Commands read arguments, a file or standard input, and write JSON lines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"bertie {bertie.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    del version


def _telling(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command so that messages name its options as they are typed, and so that one stopped by a signal says
    what it has kept; Typer would leave without a word.
    """

    @wraps(command)
    def run(*given: Any, **options: Any) -> None:
        try:
            with spelling(spelling_of(command)):
                command(*given, **options)
        except ImportError as error:
            refuse_without_torch(error, f"bertie {command.__name__.replace('_', '-')}")
            raise
        except KeyboardInterrupt as stopped:
            if str(stopped):
                print(f"bertie: {printable(str(stopped))}", file=sys.stderr)
            raise typer.Exit(getattr(stopped, "exit_code", 130)) from stopped

    return run


COMMANDS = (
    *(demo, embed, search, fill_mask, next_sentence, classify, tag, answer, choose, rerank),
    *(finetune, evaluate, average, quantize, inspect, bench),
)
# these have nothing to do without arguments, and say what they take
NEEDY = (search, rerank, finetune, evaluate, average, inspect, quantize)
for command in COMMANDS:
    app.command(cls=Command, no_args_is_help=command in NEEDY)(_telling(bound(command)))
