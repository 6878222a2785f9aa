"""``bertie prune``: a model without the layers and neurons that matter least, measured before it is written."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.reading import InputOptions
from bertie.messages import printable


def prune(
    model: Annotated[str, typer.Argument(help="A folder, or a model's name in the hub.")],
    out: Annotated[Path, typer.Argument(help="The new folder to write.")],
    texts: Annotated[Path, typer.Option(help="A file of texts like those the model will read; a few hundred do.")],
    layers: Annotated[int | None, typer.Option(min=1, help="How many layers to keep.")] = None,
    intermediate_size: Annotated[
        int | None, typer.Option(min=1, help="How many feed-forward neurons of each layer to keep.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="A file of other texts to compare on; default: a fifth of --texts.")
    ] = None,
    min_cosine: Annotated[
        float, typer.Option(min=0, max=1, help="The least mean cosine of the texts' vectors, old and new.")
    ] = 0.9,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="The least share of equal predictions, of a model that predicts.")
    ] = 0.9,
    force: Annotated[bool, typer.Option("--force", help="Write it even if it is slower here, or too far off.")] = False,
    *,
    column: options.Columns = None,
    form: options.FormatOptions,
) -> None:
    """Leave the layers and feed-forward neurons that matter least out of a model; distil or fine-tune it afterwards."""
    from bertie.compression.pruning import prune as make

    columns = options.text_columns(column, "text", "text_pair")

    def read(path: Path) -> list[Any]:
        found = InputOptions(None, path).read(form, columns.get("text", "text"), columns.get("text_pair"))
        return [one.text for one in found]

    found = make(
        model,
        read(texts),
        out,
        layers=layers,
        intermediate_size=intermediate_size,
        check=None if check is None else read(check),
        min_cosine=min_cosine,
        min_agreement=min_agreement,
        force=force,
    )
    print("\n".join(map(printable, found.lines())), file=sys.stderr)
    print(json.dumps({"model": str(out), **found.record()}))
