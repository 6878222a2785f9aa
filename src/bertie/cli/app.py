"""The Typer application: its commands, imported lazily, and ``bertie --version``."""

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any

import typer
from typer import Option
from typer.core import TyperGroup

import bertie
from bertie.cli.command import Command
from bertie.cli.options import expand_groups

# the commands in the order of ``bertie --help``, and the function of each
PLACES = {
    "demo": "bertie.cli.demo:demo",
    "embed": "bertie.cli.answering:embed",
    "search": "bertie.cli.passages:search",
    "fill-mask": "bertie.cli.masked_words:fill_mask",
    "score": "bertie.cli.masked_words:score",
    "next-sentence": "bertie.cli.answering:next_sentence",
    "classify": "bertie.cli.classifying:classify",
    "tag": "bertie.cli.answering:tag",
    "answer": "bertie.cli.answering:answer",
    "choose": "bertie.cli.answering:choose",
    "rerank": "bertie.cli.passages:rerank",
    "generate": "bertie.cli.text_generation:generate",
    "train-tokenizer": "bertie.cli.train_tokenizer:train_tokenizer",
    "extend-vocabulary": "bertie.cli.train_tokenizer:extend_vocabulary",
    "prepare": "bertie.cli.prepare:prepare",
    "pretrain": "bertie.cli.pretrain:pretrain",
    "finetune": "bertie.cli.finetune:finetune",
    "evaluate": "bertie.cli.evaluate:evaluate",
    "compare": "bertie.cli.comparing:compare",
    "average": "bertie.cli.average:average",
    "distil": "bertie.cli.distil:distil",
    "prune": "bertie.cli.distil:prune",
    "quantize": "bertie.cli.quantize:quantize",
    "dequantize": "bertie.cli.quantize:dequantize",
    "convert": "bertie.cli.export:convert",
    "export": "bertie.cli.export:export",
    "inspect": "bertie.cli.inspect:inspect",
    "bench": "bertie.cli.bench:bench",
    "serve": "bertie.cli.serve:serve",
    "env": "bertie.cli.environment:env",
    "version": "bertie.cli.environment:version",
}
# plain help fits any width and is instant; Rich's truncates options, and takes longer to import than to print
_PLAIN_HELP: dict[str, Any] = {"pretty_exceptions_enable": False, "rich_markup_mode": None}


@cache
def load_command(name: str) -> Any:
    module, _, function = PLACES[name].partition(":")
    alone = typer.Typer(add_completion=False, **_PLAIN_HELP)
    command = expand_groups(getattr(importlib.import_module(module), function))
    alone.command(name, cls=Command)(command)
    made = typer.main.get_command(alone)
    # finetune has no required parameters, as --config may supply them
    made.no_args_is_help = name == "finetune" or any(parameter.required for parameter in made.params)
    return made


class _Commands(Mapping[str, Any]):
    """All commands by name; listing the names imports none of them."""

    def __getitem__(self, name: str) -> Any:
        return load_command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(PLACES)

    def __len__(self) -> int:
        return len(PLACES)


class Group(TyperGroup):
    """A group that imports only the command that runs."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Any = _Commands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the first sentence of each command's help, not truncated."""
        with formatter.section("Commands"):
            shown = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
            formatter.write_dl([(name, _first_sentence(command.help or "")) for name, command in shown if command])


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].removesuffix(".")


app = typer.Typer(
    name="bertie",
    cls=Group,
    help="BERT, whole and fast. Commands read arguments, a file or standard input and write JSON lines.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    **_PLAIN_HELP,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"bertie {bertie.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version
