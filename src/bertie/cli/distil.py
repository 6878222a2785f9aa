"""``bertie distil`` and ``prune``: a smaller model out of a given one, measured before it is written."""

import json
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.finetune import assigned, settings_of
from bertie.cli.gate import NearnessOptions, print_comparison, reader_of
from bertie.cli.options import given_of
from bertie.cli.pretrain import LengthOptions
from bertie.errors import InputError, spelled


def distil(
    teacher: Annotated[str, Argument(help="A folder or hub name: of vectors, a classifier or a tagger.")],
    out: options.Out,
    texts: Annotated[Path | None, Option(help="A file of thousands of texts like those the student will read.")] = None,
    static: Annotated[
        bool, Option("--static", help="Instead a table of one vector a token, without layers or texts.")
    ] = False,
    width: Annotated[int | None, Option(min=1, help="With --static: the numbers of a vector; default: 256.")] = None,
    layers: Annotated[
        str | None,
        Option(help="How many of the teacher's layers to begin with, or which, from 0: 1,3,5; default: 3."),
    ] = None,
    losses: Annotated[
        str | None, Option(help="What is learned of answers, hidden (states) and relations; default: all.")
    ] = None,
    temperature: Annotated[
        float | None, Option(help="What logits are divided by before they are compared; default: 2.")
    ] = None,
    settings: Annotated[
        list[str] | None, Option("--set", help="A setting of the training: NAME=VALUE, such as lr=3e-4.")
    ] = None,
    *,
    gate: NearnessOptions,
    length: LengthOptions,
    column: options.Columns = None,
    form: options.FormatOptions,
) -> None:
    """Teach a model of fewer layers to answer as a given one does, on texts without labels."""
    given = {
        "layers": None if layers is None else _numbers(layers),
        "losses": None if losses is None else [name.strip() for name in losses.split(",")],
        "temperature": temperature,
    }
    learning = given_of(given)
    trained = assigned(settings, "--set") | length.arguments()
    if static:
        others = {"texts": texts, **vars(gate), "force": gate.force or None, "column": column, **vars(form)}
        if named := [*given_of(others), *learning, *trained]:
            raise InputError(f"--static reads no texts and trains nothing; leave {spelled(named[0])} out.")
        from bertie.compression.static import distil_static

        print(json.dumps({"model": str(distil_static(teacher, out, **given_of({"width": width})))}))
        return
    if width is not None:
        raise InputError("--width is of the vectors of --static alone; a student has the width of its teacher.")
    if texts is None:
        raise InputError("--texts is missing: name a file of texts to learn on; --static alone needs none.")
    from bertie.compression.distillation import distil as make

    read = reader_of(form, column, words=True)
    found = make(teacher, read(texts), out, settings=settings_of(trained), **learning, **gate.arguments(read))
    print_comparison(found, out)


def prune(
    model: options.ModelName,
    out: options.NewFolder,
    texts: Annotated[Path, Option(help="A file of texts like those the model will read; a few hundred do.")],
    layers: Annotated[int | None, Option(min=1, help="How many layers to keep.")] = None,
    heads: Annotated[
        int | None, Option(min=1, help="How many attention heads to keep, of all layers that stay together.")
    ] = None,
    intermediate_size: Annotated[
        int | None, Option(min=1, help="How many feed-forward neurons of each layer to keep.")
    ] = None,
    *,
    gate: NearnessOptions,
    column: options.Columns = None,
    form: options.FormatOptions,
) -> None:
    """Leave out of a model the layers, heads and neurons that matter least; distil or fine-tune it afterwards."""
    from bertie.compression.pruning import prune as make

    read = reader_of(form, column)
    found = make(
        model,
        read(texts),
        out,
        layers=layers,
        heads=heads,
        intermediate_size=intermediate_size,
        **gate.arguments(read),
    )
    print_comparison(found, out)


def _numbers(layers: str) -> int | list[int]:
    try:
        return int(layers) if "," not in layers else [int(number) for number in layers.split(",")]
    except ValueError:
        raise InputError(f"--layers is {layers!r}; write a number, or several with commas: 1,3,5.") from None
