"""``bertie export`` and ``convert``: a checkpoint as an ONNX graph, or in another library's weight format."""

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
        str | None, Option(help="As for bertie.pipeline; the default is the main task of the model's head.")
    ] = None,
    int8: Annotated[bool, Option("--int8", help="8-bit weights, made and checked as by quantize.")] = False,
    *,
    gate: GateOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
) -> None:
    """Write a model as a graph for ONNX Runtime, OpenVINO or a browser, including pooling, normalisation and scores."""
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
        say(f"difference   {difference:.1e} in {name}, relative to the largest number, from bertie's engine")
    if made.cosine_worst is not None:
        say(f"cosine       {made.cosine_worst:.4f} for the worst text, with bertie's engine")
    print(json.dumps({**made.record(), **compared}))


def convert(
    model: Annotated[str, Argument(help="A folder, a hub name, or a TensorFlow 1 checkpoint (….ckpt).")],
    out: options.NewFolder,
    to: Annotated[
        str, Option(help="The format: safetensors, h5 (TensorFlow, Keras), msgpack (Flax) or gguf (llama.cpp).")
    ] = "safetensors",
) -> None:
    """Convert a model's weights to another format, such as TensorFlow or Flax weights to safetensors."""
    from bertie.export.conversion import convert as write

    write(model, out, to)
    files = {str(path.relative_to(out)): path.stat().st_size for path in sorted(out.rglob("*")) if path.is_file()}
    print(json.dumps({"model": str(out), "files": files}, ensure_ascii=False))
    hint = f"; to see what is in it: bertie inspect {shlex.quote(str(out))}" if to == "safetensors" else ""
    say(printable(f"bertie: {out} is written{hint}"))
