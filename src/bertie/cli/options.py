"""The options that commands share, each declared once, some in groups: dataclasses that turn them into arguments."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from bertie.cli.verbosity import Verbosity
from bertie.errors import InputError
from bertie.extras import loaded

if TYPE_CHECKING:
    from bertie.data import Format

ModelName = Annotated[str, Argument(help="A folder or hub name.")]
NewFolder = Annotated[Path, Argument(help="The new folder to write.")]
Out = Annotated[Path, Option("--out", "-o", help="The new folder to write.")]
AsJson = Annotated[bool, Option("--json", help="Write one JSON line instead of text.")]
LearningRate = Annotated[float | None, Option("--learning-rate", "--lr", help="The peak learning rate.")]
Force = Annotated[bool, Option("--force", help="Write it even if it is slower here, or its quality too low.")]
Resume = Annotated[bool, Option("--resume", help="Continue the run in --out.")]
TensorBoard = Annotated[bool, Option("--tensorboard", help="Log to --out/tensorboard too.")]
Input = Annotated[
    Path | None,
    Option("--input", "-i", help="A file: .jsonl, .csv, .tsv or .parquet (see --column), else one text per line."),
]


def _text_column(column: str) -> str:
    """Return the column of the text, given as ``text=NAME``, as in other commands, or as ``NAME``."""
    return column.removeprefix("text=")


Column = Annotated[str, Option("--column", callback=_text_column, help="The field or column of the text: text=NAME.")]
Columns = Annotated[
    list[str] | None, Option("--column", help="What a column is: ROLE=NAME, such as text=Body; may be repeated.")
]
Model = Annotated[str | None, Option("--model", "-m", help="A folder or hub name.")]
Device = Annotated[str | None, Option("--device", help="cpu, cuda, cuda:1; the default is CUDA if available.")]
BatchTokens = Annotated[
    int | None, Option("--batch-tokens", min=1, help="Maximum tokens in a batch; the default suits the device.")
]
Seed = Annotated[int | None, Option("--seed", help="Seed of all random numbers.")]
TopK = Annotated[int, Option("--top-k", "-k", min=1, help="How many answers to give.")]
MaxLength = Annotated[
    int | None, Option("--max-length", min=3, help="Maximum tokens per text; the default is the model's limit.")
]
SplitSpecial = Annotated[
    bool,
    Option("--split-special-tokens", help="Treat [SEP] and the like in a text as plain text."),
]
Windows = Annotated[
    bool | None,
    Option("--windows/--no-windows", help="Read long texts in overlapping windows, or truncate them."),
]
Overlap = Annotated[int | None, Option("--overlap", min=0, help="Tokens that neighbouring windows share.")]


@dataclass(frozen=True)
class ModelOptions:
    """The model, and its device and batches."""

    model: Model = None
    device: Device = None
    batch_tokens: BatchTokens = None
    seed: Seed = None

    def pipeline(self, task: str, **options: Any) -> Any:
        """Return the model's pipeline for a task; options that are None are left to the task."""
        from bertie.pipelines import pipeline

        given = without_none(vars(self) | options)
        seed = given.pop("seed", None)
        if seed is not None and (torch := loaded("torch")):
            torch.manual_seed(seed)
        return pipeline(task, **given)


@dataclass(frozen=True)
class LengthOptions(ModelOptions):
    """`ModelOptions`, and the maximum length of a text."""

    max_length: MaxLength = None


@dataclass(frozen=True)
class TextOptions(LengthOptions):
    """`LengthOptions`, and whether special tokens in a text are plain text."""

    split_special_tokens: SplitSpecial = False


@dataclass(frozen=True)
class WindowOptions(TextOptions):
    """`TextOptions`, and how long texts are handled."""

    windows: Windows = None
    overlap: Overlap = None


@dataclass(frozen=True)
class ReadingOptions:
    """The maximum length of a text, and how long ones are handled."""

    max_length: MaxLength = None
    windows: Windows = None
    overlap: Overlap = None


@dataclass(frozen=True)
class FormatOptions:
    """The format of an input file."""

    format: Annotated[str | None, Option(help="lines, jsonl, csv, tsv, … if the file's name does not say.")] = None
    delimiter: Annotated[str | None, Option(help="The column separator of a table, such as '|', ';' or tab.")] = None
    encoding: Annotated[str | None, Option(help="Of files that are not UTF-8, such as cp1252.")] = None
    quoting: Annotated[
        str | None,
        Option(help="csv; or none, if quotation marks in a table are plain text."),
    ] = None

    def as_format(self) -> "Format | None":
        """Return the format for readers; None if no option is given."""
        if self == FormatOptions():
            return None  # without importing the readers
        from bertie.data import Format, form_of

        form_of(Path(), self.format)  # refuses an unknown format
        return Format(self.format, self.delimiter, self.encoding, self.quoting)


@dataclass(frozen=True)
class RowOptions:
    """What the columns of labelled rows are, and how bad rows are handled."""

    column: Columns = None
    on_bad_row: Annotated[str, Option(help="error, or skip to leave out and count unusable rows.")] = "error"

    def arguments(self) -> dict[str, Any]:
        """Return them as arguments of `bertie.finetune` and `bertie.evaluate`."""
        return {"columns": parse_columns(self.column), "on_bad_row": self.on_bad_row}


@dataclass(frozen=True)
class LabelledRowOptions(RowOptions):
    """`RowOptions`, and the meaning of labels."""

    label_names: Annotated[
        str | None,
        Option(help="Names for lists of 0 and 1, or for class numbers, separated by commas: spam,ham."),
    ] = None
    label_map: Annotated[
        list[str] | None,
        Option(help="A label's name: WRITTEN=NAME, such as 1=spam; may be repeated."),
    ] = None
    first_choice: Annotated[int | None, Option(help="Whether labels count choices from 0 or from 1.")] = None

    def arguments(self) -> dict[str, Any]:
        names = None if self.label_names is None else [name.strip() for name in self.label_names.split(",")]
        pairs = parse_pairs(self.label_map, "--label-map", "WRITTEN=NAME, such as 1=spam")
        return super().arguments() | {
            "label_names": names,
            "label_map": None if self.label_map is None else dict(pairs),
            "first_choice": self.first_choice,
        }


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with each parameter that takes a group replaced by the group's options.

    The options that every command has are added at the end.
    """
    own = signature(command).parameters
    groups: dict[str, Any] = {name: one.annotation for name, one in own.items() if is_dataclass(one.annotation)}

    @wraps(command)
    def run(*, quiet: bool = False, verbose: bool = False, **given: Any) -> None:
        with Verbosity(quiet, verbose).applied():
            if given.get("ray"):
                from bertie.cli.on_ray import answer_shards

                answer_shards(command, given)
                return
            built = {
                name: group(**{one.name: given.pop(one.name) for one in fields(group)})
                for name, group in groups.items()
            }
            command(**given, **built)

    parameters = [
        option
        for name, one in own.items()
        for option in (signature(groups[name]).parameters.values() if name in groups else [one])
    ]
    parameters += signature(Verbosity).parameters.values()
    parameters = [option.replace(kind=option.KEYWORD_ONLY) for option in parameters]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are given; None means not given."""
    return {name: value for name, value in values.items() if value is not None}


def parse_columns(pairs: list[str] | None) -> dict[str, str | list[str]] | None:
    """Return role → column from ``ROLE=NAME`` texts; a role named twice gets a list."""
    found: dict[str, str | list[str]] = {}
    for role, column in parse_pairs(pairs, "--column", "ROLE=NAME, such as text=Body"):
        before = found.get(role)
        if before is None:
            found[role] = column
        else:
            found[role] = [*([before] if isinstance(before, str) else before), column]
    return found or None


def text_columns(pairs: list[str] | None, *roles: str) -> dict[str, str]:
    """Return role → column from ``ROLE=NAME`` texts; a bare ``NAME`` is the first role's."""
    named = [pair.partition("=") if "=" in pair else (roles[0], "=", pair) for pair in pairs or []]
    for number, (role, _, name) in enumerate(named):
        if role not in roles:
            raise InputError(f"--column is '{role}={name}'; write {' or '.join(f'{one}=NAME' for one in roles)}.")
        if role in [one for one, *_ in named[:number]]:
            raise InputError(f"--column names two columns for {role!r}; name one.")
    return {role: name for role, _, name in named}


def parse_pairs(texts: list[str] | None, option: str, form: str) -> list[tuple[str, str]]:
    """Return ``NAME=VALUE`` texts as pairs."""
    for text in texts or []:
        if "=" not in text:
            raise InputError(f"{option} is {text!r}; write {form}.")
    return [(name, value) for name, _, value in (text.partition("=") for text in texts or [])]


def one_or_all(paths: list[str]) -> str | list[str]:
    """Return the only path, or the list of several."""
    return paths[0] if len(paths) == 1 else paths
