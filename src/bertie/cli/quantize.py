"""``bertie quantize``: an int8 model from a floating-point one, measured before it is written; and back."""

import json
from typing import Annotated

from typer import Argument

from bertie.cli import options
from bertie.cli.gate import GateOptions


def quantize(
    model: options.ModelName,
    out: options.NewFolder,
    *,
    gate: GateOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
) -> None:
    """Make a model smaller and faster on CPUs with 8-bit weights, checked on your own texts and on this machine."""
    from bertie.checkpoints.new_folder import check_new
    from bertie.compression.check import compare
    from bertie.compression.folder import open_model
    from bertie.compression.quantizing import encode
    from bertie.compression.quantizing import quantize as make

    check_new(out)
    texts = gate.read(form, column)
    opened = open_model(model)
    small = make(opened.model, "int8", texts=texts.calibrating, tokenizer=opened.tokenizer, min_cosine=gate.min_cosine)
    found = compare(opened.model, small, encode(texts.checking, opened.tokenizer, opened.model))
    gate.judge(found, texts.lines)
    opened.write(out, small)
    print(json.dumps({"model": str(out), **found.record()}))


def dequantize(
    model: Annotated[str, Argument(help="The folder or hub name of an int8 model.")],
    out: options.NewFolder,
) -> None:
    """Convert an int8 model to float32, to train it or to open it in other programs."""
    from bertie.checkpoints.new_folder import check_new
    from bertie.compression.folder import open_model
    from bertie.models.dequantizing import dequantize as make

    check_new(out)
    opened = open_model(model)
    opened.write(out, make(opened.model))
    print(json.dumps({"model": str(out)}))
