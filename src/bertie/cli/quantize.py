"""``bertie quantize``: an int8 model out of a floating-point one, measured before it is written; and back."""

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from bertie.checkpoints.beside_weights import check_new
from bertie.cli import options
from bertie.cli.reading import InputOptions
from bertie.errors import InputError, counted
from bertie.messages import printable

# Calibration takes seconds with so many texts, and gains nothing from more.
_CALIBRATION = 512
_CHECK = 1_024
# so many lie apart in the book: no text has sentences of another
_BOOK_TEXTS = 320
# without --check, every fifth text does not calibrate, but checks
_HELD_OUT = 5


def quantize(
    model: Annotated[str, typer.Argument(help="A folder, or a model's name in the hub.")],
    out: Annotated[Path, typer.Argument(help="The new folder to write.")],
    texts: Annotated[
        Path | None, typer.Option(help="A file of texts like those the model will read; a few hundred do.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="A file of other texts to compare both models on; without it, a fifth of --texts."),
    ] = None,
    min_cosine: Annotated[
        float, typer.Option(min=0, max=1, help="The least cosine of a text's vectors, old and new.")
    ] = 0.99,
    force: Annotated[bool, typer.Option("--force", help="Write it even if it is slower here, or too far off.")] = False,
    *,
    column: options.Column = "text",
    form: options.FormatOptions,
) -> None:
    """Make a model smaller and faster on CPUs: weights of 8 bits, checked on your own texts and on this machine."""
    from bertie.compression.check import compare
    from bertie.compression.folder import open_model, write_folder
    from bertie.compression.quantize import encode
    from bertie.compression.quantize import quantize as make
    from bertie.data.bundled_texts import book_texts

    def read(path: Path, most: int) -> list[Any]:
        return [one.text for one in islice(InputOptions(None, path).read(form, column), most)]

    check_new(out)
    source = "the book that comes with bertie" if texts is None else str(texts)
    given = book_texts(_BOOK_TEXTS) if texts is None else read(texts, _CALIBRATION)
    if check is None:
        calibrating, checking, of = *_held_out(given), f"of {source}, which did not calibrate"
    else:
        calibrating, checking, of = given, read(check, _CHECK), f"of {check}"
    opened = open_model(model)
    small = make(opened.model, "int8", texts=calibrating, tokenizer=opened.tokenizer, min_cosine=min_cosine)
    found = compare(opened.model, small, encode(checking, opened.tokenizer, opened.model))
    print(f"calibrated   on {counted(len(calibrating), 'text')} of {printable(source)}", file=sys.stderr)
    print(f"compared     on {counted(len(checking), 'text')} {printable(of)}", file=sys.stderr)
    print("\n".join(map(printable, found.lines())), file=sys.stderr)
    found.refuse(force, min_worst=min_cosine)
    write_folder(out, small, opened.folder, opened.subfolder)
    print(json.dumps(found.record(out)))


def dequantize(
    model: Annotated[str, typer.Argument(help="A folder, or a model's name in the hub, of an int8 model.")],
    out: Annotated[Path, typer.Argument(help="The new folder to write.")],
) -> None:
    """Make a float32 model out of an int8 one, to train it or to open it in other programs."""
    from bertie.compression.folder import open_model, write_folder
    from bertie.models.dequantizing import dequantize as make

    check_new(out)
    opened = open_model(model)
    write_folder(out, make(opened.model), opened.folder, opened.subfolder)
    print(json.dumps({"model": str(out)}))


def _held_out(texts: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return texts to calibrate on and others to check."""
    from bertie.compression.check import held_out

    if len(texts) < 2:
        raise InputError(
            f"--texts has {counted(len(texts), 'text')}; give two or more, a few hundred if you can, or --check too."
        )
    return held_out(texts, _HELD_OUT)
