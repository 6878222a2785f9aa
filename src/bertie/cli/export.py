"""``bertie export`` and ``convert``: a checkpoint as a graph for other programs, or in another library's format."""

import json
import shlex
from typing import Annotated

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.gate import GateOptions
from bertie.cli.verbosity import say
from bertie.errors import InputError
from bertie.messages import printable

_FORMATS = ("onnx",)


def export(
    to: Annotated[str, Argument(metavar="onnx", help="The format: onnx.")],
    model: options.ModelName,
    out: options.NewFolder,
    task: Annotated[
        str | None, Option(help="As for bertie.pipeline; the default is what the model's head does first.")
    ] = None,
    int8: Annotated[bool, Option("--int8", help="Weights of 8 bits, made and checked as by quantize.")] = False,
    *,
    gate: GateOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
) -> None:
    """Write a model as a graph for ONNX Runtime, OpenVINO or a browser: pooling, normalisation and scores inside."""
    from bertie.checkpoints.new_folder import check_new
    from bertie.export.exporting import Source

    if to not in _FORMATS:
        raise InputError(f"The format is {to!r}; allowed: {', '.join(_FORMATS)}.")
    check_new(out)
    source, weights, compared = Source.open(model, task), None, {}
    if int8:
        from bertie.export.int8_graph import compare_graphs, int8_weights

        texts = gate.read(form, column)
        weights = int8_weights(source, texts.calibrating, gate.min_cosine)
        found = compare_graphs(source, weights, texts.checking)
        gate.judge(found, texts.lines)
        compared = found.record()
    made = source.export(out, weights, gate.min_cosine)
    say(f"exported     {printable(str(made.path))} for {made.task}: {made.bytes / 2**20:.1f} MiB")
    for name, difference in made.difference.items():
        say(f"difference   {difference:.1e} in {name}, of the largest number, to bertie's engine")
    if made.cosine_worst is not None:
        say(f"cosine       {made.cosine_worst:.4f} for the worst text, to bertie's engine")
    print(json.dumps({**made.record(), **compared}))


def convert(
    model: Annotated[str, Argument(help="A folder, a model's name in the hub, or a TensorFlow 1 checkpoint (….ckpt).")],
    out: options.NewFolder,
    to: Annotated[
        str, Option(help="The format: safetensors, h5 (TensorFlow, Keras), msgpack (Flax) or gguf (llama.cpp).")
    ] = "safetensors",
) -> None:
    """Write a model's weights in another format, such as those of TensorFlow and Flax as safetensors."""
    from bertie.export.conversion import convert as write

    write(model, out, to)
    files = {str(path.relative_to(out)): path.stat().st_size for path in sorted(out.rglob("*")) if path.is_file()}
    print(json.dumps({"model": str(out), "files": files}, ensure_ascii=False))
    look = f"; to see what is in it: bertie inspect {shlex.quote(str(out))}" if to == "safetensors" else ""
    say(printable(f"bertie: {out} is written{look}"))
