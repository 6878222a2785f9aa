"""bertie's ONNX graph of an embedding model, and those of PyTorch's exporters for the transformers model.

python benchmarks/exporting.py [--model sentence-transformers/all-MiniLM-L6-v2] [--rounds 5]

All run in ONNX Runtime on one thread, in turn: file size, texts per second of processor time, and the difference from
bertie's own vectors.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
import transformers
from onnxruntime.quantization import QuantType, quantize_dynamic

import bertie
from bertie.data.bundled_texts import book_texts
from bertie.export.exporting import Source
from bertie.export.int8_graph import int8_weights
from bertie.hub import default_embedding_model

BATCH = 16
# texts that lie apart in the book, some to measure on and others to calibrate with
APART = book_texts(320)
TEXTS, CALIBRATING = APART[::5][:48], APART[1::5][:64] + APART[2::5][:32]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Pooled(torch.nn.Module):
    """The transformers encoder with the pooling of all-MiniLM-L6-v2."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]
        mask = attention_mask[..., None].to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def by_torch(model: Pooled, path: Path, dynamo: bool) -> None:
    """Export the model with one of PyTorch's exporters; optimum and sentence-transformers use the older one."""
    example = tuple(torch.ones(2, 8, dtype=torch.long) for _ in INPUTS)
    axes = {0: "batch", 1: "sequence"}
    more: dict[str, Any] = {"dynamic_axes": dict.fromkeys(INPUTS, axes), "opset_version": 18}
    if dynamo:
        sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
        more = {"dynamic_shapes": dict.fromkeys(INPUTS, sizes), "external_data": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, example, path, dynamo=dynamo, input_names=list(INPUTS), **more)


def graphs(name: str, folder: Path) -> dict[str, Path]:
    """Return the file from each way of exporting the model."""
    model = Pooled(transformers.AutoModel.from_pretrained(name, attn_implementation="eager").eval())
    source = Source.open(name, "embed")
    paths = {way: folder / f"{number}.onnx" for number, way in enumerate(WAYS)}
    source.write(paths["bertie"])
    by_torch(model, paths["torch.onnx"], dynamo=False)
    by_torch(model, paths["torch.onnx, dynamo"], dynamo=True)
    source.write(paths["bertie, int8"], int8_weights(source, CALIBRATING, min_cosine=0.99))
    told = {"DefaultTensorType": 1, "MatMulConstBOnly": True}
    quantize_dynamic(
        paths["torch.onnx"],
        paths["torch.onnx, quantize_dynamic"],
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options=told,
    )
    return paths


WAYS = ("bertie", "torch.onnx", "torch.onnx, dynamo", "bertie, int8", "torch.onnx, quantize_dynamic")


def runner(path: Path, batches: list[Any]) -> Callable[[], Any]:
    """Return a function that computes the vectors of all texts with a graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = session.get_outputs()[-1].name  # of bertie's, the vectors follow the hidden states
    names = {each.name for each in session.get_inputs()}

    def run() -> Any:
        given = ({name: batch[name] for name in names} for batch in batches)
        return np.concatenate([session.run([wanted], each)[0] for each in given])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(default_embedding_model()))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    read = transformers.AutoTokenizer.from_pretrained(options.model)
    texts = sorted(TEXTS, key=len)
    parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    batches = [dict(read(part, padding=True, truncation=True, max_length=256, return_tensors="np")) for part in parts]
    wanted = bertie.pipeline("embed", options.model)(texts)
    with TemporaryDirectory() as place:
        paths = graphs(options.model, Path(place))
        running = {way: runner(path, batches) for way, path in paths.items()}
        seconds: dict[str, list[float]] = {way: [] for way in running}
        for _ in range(options.rounds):
            for way, run in running.items():
                begun = time.process_time()
                run()
                seconds[way].append(time.process_time() - begun)
        print("| graph | MB | texts/s | difference | worst cosine |\n|---|--:|--:|--:|--:|")
        for way, run in running.items():
            found = run()
            size, rate = paths[way].stat().st_size / 1e6, len(texts) / statistics.median(seconds[way])
            difference, cosine = np.abs(found - wanted).max(), (found * wanted).sum(1).min()
            print(f"| {way} | {size:.1f} | {rate:.0f} | {difference:.1e} | {cosine:.4f} |", flush=True)


if __name__ == "__main__":
    main()
