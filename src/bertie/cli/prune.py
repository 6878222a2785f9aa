"""``bertie prune``: a model without the layers, heads and neurons that matter least, measured before it is written."""

from pathlib import Path
from typing import Annotated

import typer

from bertie.cli import options
from bertie.cli.gate import NearnessOptions, reader_of, tell


def prune(
    model: Annotated[str, typer.Argument(help="A folder, or a model's name in the hub.")],
    out: Annotated[Path, typer.Argument(help="The new folder to write.")],
    texts: Annotated[Path, typer.Option(help="A file of texts like those the model will read; a few hundred do.")],
    layers: Annotated[int | None, typer.Option(min=1, help="How many layers to keep.")] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="How many attention heads to keep, of all layers that stay together.")
    ] = None,
    intermediate_size: Annotated[
        int | None, typer.Option(min=1, help="How many feed-forward neurons of each layer to keep.")
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
    tell(found, out)
