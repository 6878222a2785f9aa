"""``bertie convert``: a model's weights in the format of another library, or of an old file as safetensors."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bertie.cli.verbosity import say
from bertie.messages import printable


def convert(
    model: Annotated[
        str, typer.Argument(help="A folder, a model's name in the hub, or a TensorFlow 1 checkpoint (….ckpt).")
    ],
    out: Annotated[Path, typer.Argument(help="The new folder to write.")],
    to: Annotated[
        str, typer.Option(help="The format: safetensors, h5 (TensorFlow, Keras), msgpack (Flax) or gguf (llama.cpp).")
    ] = "safetensors",
) -> None:
    """Write a model's weights in another format, such as those of TensorFlow and Flax as safetensors."""
    from bertie.export.conversion import convert as write

    write(model, out, to)
    files = {str(path.relative_to(out)): path.stat().st_size for path in sorted(out.rglob("*")) if path.is_file()}
    print(json.dumps({"model": str(out), "files": files}, ensure_ascii=False))
    look = f"; 'bertie inspect {out}' shows what is in it" if to == "safetensors" else ""
    say(printable(f"bertie: {out} is written{look}"))
