"""What commands that make smaller models ask for: texts to make them with and to check, and what they must reach."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Option

from bertie.cli import options
from bertie.cli.options import Columns, FormatOptions, given_of, text_columns
from bertie.cli.reading import InputOptions
from bertie.cli.verbosity import say
from bertie.errors import counted
from bertie.messages import printable

if TYPE_CHECKING:
    from bertie.compression.check import Comparison

# Calibration takes seconds with so many texts, and gains nothing from more.
_CALIBRATION = 512
_CHECK = 1_024
# so many lie apart in the book: no text has sentences of another
_BOOK_TEXTS = 320
# without --check, every fifth text does not calibrate, but checks
_HELD_OUT = 5


class GateTexts(NamedTuple):
    """Texts to calibrate on and to check, and what is said of both."""

    calibrating: list[Any]
    checking: list[Any]
    lines: list[str]


@dataclass(frozen=True)
class GateOptions:
    """The texts of an int8 model, and what it must reach to be written."""

    texts: Annotated[Path | None, Option(help="A file of texts like those the model will read; a few hundred do.")] = (
        None
    )
    check: Annotated[
        Path | None,
        Option(help="A file of other texts to compare both models on; without it, a fifth of --texts."),
    ] = None
    min_cosine: Annotated[float, Option(min=0, max=1, help="The least cosine of a text's vectors, old and new.")] = 0.99
    force: options.Force = False

    def read(self, form: FormatOptions, column: str) -> GateTexts:
        """Return the texts in the files, or in the book that comes with bertie."""
        from bertie.compression.check import held_out
        from bertie.data.bundled_texts import book_texts

        def texts_in(path: Path, most: int) -> list[Any]:
            return [one.text for one in islice(InputOptions(None, path).read(form, column), most)]

        source = "the book that comes with bertie" if self.texts is None else str(self.texts)
        given = book_texts(_BOOK_TEXTS) if self.texts is None else texts_in(self.texts, _CALIBRATION)
        if self.check is None:
            calibrating, checking, of = *held_out(given, _HELD_OUT), f"of {source}, which did not calibrate"
        else:
            calibrating, checking, of = given, texts_in(self.check, _CHECK), f"of {self.check}"
        lines = [
            f"calibrated   on {counted(len(calibrating), 'text')} of {printable(source)}",
            f"compared     on {counted(len(checking), 'text')} {printable(of)}",
        ]
        return GateTexts(calibrating, checking, lines)

    def judge(self, found: "Comparison", lines: list[str]) -> None:
        """Print the comparison, and refuse to go on where it is too bad."""
        say(*lines, *map(printable, found.lines()))
        found.refuse(self.force, min_worst=self.min_cosine)


@dataclass(frozen=True)
class NearnessOptions:
    """How near a model of fewer layers, heads or neurons must be to its original to be written."""

    check: Annotated[
        Path | None,
        Option(help="A file of other texts to compare on; default: of --texts a twentieth, for prune a fifth."),
    ] = None
    min_cosine: Annotated[
        float | None,
        Option(min=0, max=1, help="The least mean cosine of the texts' vectors, old and new; default: 0.9."),
    ] = None
    min_agreement: Annotated[
        float | None,
        Option(min=0, max=1, help="The least share of equal predictions of a model that predicts; default: 0.9."),
    ] = None
    force: options.Force = False

    def arguments(self, read: Callable[[Path], list[Any]]) -> dict[str, Any]:
        """Return them as `bertie.distil` and `bertie.prune` take them."""
        return given_of({**vars(self), "check": None if self.check is None else read(self.check)})


def reader_of(form: FormatOptions, column: Columns, words: bool = False) -> Callable[[Path], list[Any]]:
    """Return what reads the texts, or pairs, of a file, and with ``words`` texts that are lists of them."""
    columns = text_columns(column, "text", "text_pair")

    def read(path: Path) -> list[Any]:
        found = InputOptions(None, path).read(form, columns.get("text", "text"), columns.get("text_pair"), words=words)
        return [one.text for one in found]

    return read


def print_comparison(found: "Comparison", out: Path) -> None:
    """Print how a model that was written compares with its original."""
    say(*map(printable, found.lines()))
    print(json.dumps({"model": str(out), **found.record()}))
