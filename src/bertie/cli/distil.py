"""``bertie distil`` and ``prune``: a smaller model from a given one, measured before it is written."""

import json
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.finetune import parse_assignments, settings_of
from bertie.cli.gate import SimilarityOptions, print_comparison, reader_of
from bertie.cli.options import without_none
from bertie.cli.pretrain import DurationOptions
from bertie.errors import InputError, spelled


def distil(
    teacher: Annotated[str, Argument(help="A folder or hub name of an embedding model, classifier or tagger.")],
    out: options.Out,
    texts: Annotated[Path | None, Option(help="A file of thousands of texts like those the student will read.")] = None,
    static: Annotated[
        bool, Option("--static", help="Make a table of one vector per token instead, without layers or texts.")
    ] = False,
    width: Annotated[int | None, Option(min=1, help="With --static: the size of a vector; default: 256.")] = None,
    layers: Annotated[
        str | None,
        Option(help="How many of the teacher's layers to start from, or which, from 0: 1,3,5; default: 3."),
    ] = None,
    losses: Annotated[
        str | None, Option(help="What to learn of answers, hidden (states) and relations; default: all.")
    ] = None,
    temperature: Annotated[
        float | None, Option(help="Logits are divided by this before they are compared; default: 2.")
    ] = None,
    settings: Annotated[
        list[str] | None, Option("--set", help="A training setting: NAME=VALUE, such as lr=3e-4.")
    ] = None,
    *,
    gate: SimilarityOptions,
    length: DurationOptions,
    column: options.Columns = None,
    form: options.FormatOptions,
) -> None:
    """Train a model of fewer layers to answer as a given one does, on unlabelled texts."""
    learning = without_none(
        {
            "layers": None if layers is None else _numbers(layers),
            "losses": None if losses is None else [name.strip() for name in losses.split(",")],
            "temperature": temperature,
        }
    )
    trained = parse_assignments(settings, "--set") | length.arguments()
    if static:
        others = {"texts": texts, **vars(gate), "force": gate.force or None, "column": column, **vars(form)}
        if named := [*without_none(others), *learning, *trained]:
            raise InputError(f"--static reads no texts and trains nothing; leave {spelled(named[0])} out.")
        from bertie.compression.static import distil_static

        print(json.dumps({"model": str(distil_static(teacher, out, **without_none({"width": width})))}))
        return
    if width is not None:
        raise InputError("--width is for --static only; a student has the width of its teacher.")
    if texts is None:
        raise InputError("--texts is missing: name a file of texts to learn from; only --static needs none.")
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
        int | None, Option(min=1, help="How many attention heads to keep, counted over all remaining layers.")
    ] = None,
    intermediate_size: Annotated[
        int | None, Option(min=1, help="How many feed-forward neurons of each layer to keep.")
    ] = None,
    *,
    gate: SimilarityOptions,
    column: options.Columns = None,
    form: options.FormatOptions,
) -> None:
    """Remove the layers, heads and neurons of a model that matter least; distil or fine-tune it afterwards."""
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
        raise InputError(f"--layers is {layers!r}; write a number, or several separated by commas: 1,3,5.") from None
