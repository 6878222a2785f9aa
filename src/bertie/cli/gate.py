"""The quality gate of commands that make smaller models: texts to calibrate and check on, and the required quality."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Option

from bertie.cli import options
from bertie.cli.options import Columns, FormatOptions, text_columns, without_none
from bertie.cli.reading import InputOptions
from bertie.cli.verbosity import say
from bertie.errors import counted
from bertie.messages import printable

if TYPE_CHECKING:
    from bertie.compression.check import Comparison

# calibration takes seconds with this many texts, and gains nothing from more
_CALIBRATION = 512
_CHECK = 1_024
# this many texts of the book do not overlap
_BOOK_TEXTS = 320
# without --check, every fifth text is held out of the calibration to check on
_HELD_OUT = 5


class GateTexts(NamedTuple):
    """Texts to calibrate and check on, and lines for the user about them."""

    calibrating: list[Any]
    checking: list[Any]
    lines: list[str]


@dataclass(frozen=True)
class GateOptions:
    """The texts for an int8 model, and the quality that it must have to be written."""

    texts: Annotated[Path | None, Option(help="A file of texts like those the model will read; a few hundred do.")] = (
        None
    )
    check: Annotated[
        Path | None,
        Option(help="A file of other texts to compare both models on; without it, a fifth of --texts."),
    ] = None
    min_cosine: Annotated[
        float, Option(min=0, max=1, help="The lowest cosine allowed between a text's old and new vectors.")
    ] = 0.99
    force: options.Force = False

    def read(self, form: FormatOptions, column: str) -> GateTexts:
        """Return the texts of the files, by default of the book that comes with bertie."""
        from bertie.compression.check import held_out
        from bertie.data.bundled_texts import book_texts

        def texts_in(path: Path, limit: int) -> list[Any]:
            return [row.text for row in islice(InputOptions(None, path).read(form, column), limit)]

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
        """Print the comparison, and raise an error if the quality is too low."""
        say(*lines, *map(printable, found.lines()))
        found.refuse(self.force, min_worst=self.min_cosine)


@dataclass(frozen=True)
class SimilarityOptions:
    """How similar a model of fewer layers, heads or neurons must be to its original to be written."""

    check: Annotated[
        Path | None,
        Option(help="A file of other texts to compare on; default: a twentieth of --texts, for prune a fifth."),
    ] = None
    min_cosine: Annotated[
        float | None,
        Option(min=0, max=1, help="The lowest mean cosine allowed between old and new vectors; default: 0.9."),
    ] = None
    min_agreement: Annotated[
        float | None,
        Option(min=0, max=1, help="The lowest share of equal predictions allowed; default: 0.9."),
    ] = None
    force: options.Force = False

    def arguments(self, read: Callable[[Path], list[Any]]) -> dict[str, Any]:
        """Return them as arguments of `bertie.distil` and `bertie.prune`."""
        return without_none({**vars(self), "check": None if self.check is None else read(self.check)})


def reader_of(form: FormatOptions, column: Columns, words: bool = False) -> Callable[[Path], list[Any]]:
    """Return a function that reads the texts or pairs of a file; with ``words``, also lists of words."""
    columns = text_columns(column, "text", "text_pair")

    def read(path: Path) -> list[Any]:
        found = InputOptions(None, path).read(form, columns.get("text", "text"), columns.get("text_pair"), words=words)
        return [row.text for row in found]

    return read


def print_comparison(found: "Comparison", out: Path) -> None:
    """Print how the model that was written compares with its original."""
    say(*map(printable, found.lines()))
    print(json.dumps({"model": str(out), **found.record()}))
