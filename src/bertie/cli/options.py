"""The options that commands share, each declared once, and what is made of them: pipelines, columns, names."""

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from bertie.data import Format as FileFormat
from bertie.errors import InputError
from bertie.extras import loaded
from bertie.tasks.registry import find

Texts = Annotated[list[str] | None, typer.Argument(help="Texts; without any, --input or standard input is read.")]
Input = Annotated[
    Path | None,
    typer.Option("--input", "-i", help="A file: .jsonl, .csv, .tsv or .parquet (see --column), else one text a line."),
]
Format = Annotated[
    str | None, typer.Option("--format", help="lines, jsonl, csv, tsv, … where the file's name does not say it.")
]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", help="What parts the columns of a table, such as '|', ';' or tab.")
]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Of files that are not UTF-8, such as cp1252.")]
Quoting = Annotated[
    str | None, typer.Option("--quoting", help="csv; or none, where quotation marks in a table are plain text.")
]
Column = Annotated[str, typer.Option("--column", help="The field or column that holds the text.")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="A folder, or a model's name in the hub.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1; the default is CUDA if there is any.")]
BatchTokens = Annotated[
    int | None, typer.Option("--batch-tokens", min=1, help="The most tokens in a batch; the default suits the device.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of all random numbers.")]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many answers to give.")]
MaxLength = Annotated[
    int | None, typer.Option("--max-length", min=3, help="Tokens read of a text; the default is the model's limit.")
]
SplitSpecial = Annotated[
    bool,
    typer.Option("--split-special-tokens", help="Read \\[SEP] and the like in a text as plain text."),
]
PairColumn = Annotated[str, typer.Option("--pair-column", help="The field or column that holds the second text.")]
Windows = Annotated[
    bool | None,
    typer.Option("--windows/--no-windows", help="Read long texts in windows that overlap, or cut them."),
]
Overlap = Annotated[int | None, typer.Option("--overlap", min=0, help="Tokens that neighbouring windows share.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="What a column is: ROLE=NAME, such as text=Body; may be repeated.")
]
TextColumn = Annotated[str | None, typer.Option("--text-column", help="The column of the text.")]
TextPairColumn = Annotated[str | None, typer.Option("--text-pair-column", help="The column of the second text.")]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="The column of the label.")]
LabelNames = Annotated[
    str | None,
    typer.Option("--label-names", help="What lists of 0 and 1, or class numbers, stand for, with commas: spam,ham."),
]
LabelMap = Annotated[
    list[str] | None,
    typer.Option("--label-map", help="What a label is called: WRITTEN=NAME, such as 1=spam; may be repeated."),
]
FirstChoice = Annotated[
    int | None, typer.Option("--first-choice", help="Whether labels count choices from 0 or from 1.")
]
OnBadRow = Annotated[str, typer.Option("--on-bad-row", help="error, or skip to leave out and count what is unusable.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the answers to this file, which is replaced when all are there."),
]
To = Annotated[
    str | None,
    typer.Option("--to", help="What to write: jsonl, csv or tsv; the default is what the name of --output ends in."),
]


class OpenPipeline(Protocol):
    """Makes the pipeline of a task; options that are None are left to the task."""

    def __call__(self, task: str, **options: Any) -> Any: ...


def opener(
    model: Model = None, device: Device = None, batch_tokens: BatchTokens = None, seed: Seed = None
) -> OpenPipeline:
    """Return what opens pipelines with these options."""

    def open_pipeline(task: str, **options: Any) -> Any:
        row = find(task)
        folder = str(row.default_model()) if model is None else model
        from bertie.pipelines import pipeline

        if seed is not None and (torch := loaded("torch")):
            torch.manual_seed(seed)
        given = {name: value for name, value in options.items() if value is not None}
        return pipeline(task, folder, device=device, batch_tokens=batch_tokens, **given)

    return open_pipeline


def form_of(
    format: Format = None, delimiter: Delimiter = None, encoding: Encoding = None, quoting: Quoting = None
) -> FileFormat:
    """Return how the file is written that is read."""
    return FileFormat(format, delimiter, encoding, quoting)


# what a command's parameter of this name is made by, and thereby its options
_GROUPS: dict[str, Callable[..., Any]] = {"open_pipeline": opener, "form": form_of}


def bound(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the options of a group in the place of the parameter that takes what they make."""
    own = signature(command).parameters
    groups = {name: signature(group).parameters for name, group in _GROUPS.items() if name in own}

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = _GROUPS[name](**{option: given.pop(option) for option in group})
        command(**given)

    shown = [option for name, one in own.items() for option in (groups[name].values() if name in groups else [one])]
    run.__signature__ = Signature([one.replace(kind=one.KEYWORD_ONLY) for one in shown])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    return run


def columns_of(pairs: list[str] | None, **named: str | None) -> dict[str, str | list[str]] | None:
    """Return role → column from ``ROLE=NAME`` texts and from options of their own; a role named twice has a list.

    Raises:
        InputError: a text without ``=``.
    """
    found: dict[str, str | list[str]] = {role: column for role, column in named.items() if column is not None}
    for pair in pairs or []:
        role, equals, column = pair.partition("=")
        if not equals:
            raise InputError(f"--column is {pair!r}; write ROLE=NAME, such as text=Body.")
        before = found.get(role)
        if before is None:
            found[role] = column
        else:
            found[role] = [*([before] if isinstance(before, str) else before), column]
    return found or None


def one_or_all(paths: list[str]) -> str | list[str]:
    """Return the only path, or the list of several."""
    return paths[0] if len(paths) == 1 else paths


def names_of(names: str | None) -> list[str] | None:
    """Return the names in ``NAME,NAME``."""
    return None if names is None else [name.strip() for name in names.split(",")]


def map_of(pairs: list[str] | None) -> dict[str, str] | None:
    """Return label → name from ``WRITTEN=NAME`` texts.

    Raises:
        InputError: a text without ``=``.
    """
    if pairs is None:
        return None
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"--label-map is {pair!r}; write WRITTEN=NAME, such as 1=spam.")
    return {written: name for written, _, name in (pair.partition("=") for pair in pairs)}
