"""Quantising a checkpoint's weights for its graph, and comparing both graphs under ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bertie.compression.check import Comparison, compare_encodings
from bertie.compression.quantizing import quantize
from bertie.engine.weights import Weights, model_weights
from bertie.errors import InputError
from bertie.export.exporting import Source
from bertie.export.onnx_model import OnnxModel, agreement
from bertie.models import auto


def int8_weights(source: Source, texts: Sequence[Any], min_cosine: float) -> Weights:
    """Return the checkpoint's weights quantised by `bertie.quantize` with these calibration texts."""
    if source.engine.config.quantization_config is not None:
        raise InputError("The model is int8 already, and so is its graph; leave --int8 out.")
    auto_class = getattr(auto, source.row.model_class)
    more = {"add_pooling_layer": False} if source.row.model_class == "AutoModel" else {}
    model = auto_class.from_pretrained(source.engine.name_or_path, **more)
    small = quantize(model, texts=texts, tokenizer=source.task.tokenizer, min_cosine=min_cosine)
    return model_weights(small, small.config, source.row.architecture)


def compare_graphs(source: Source, weights: Weights, texts: Sequence[Any]) -> Comparison:
    """Compare a graph of these weights with one of the checkpoint's own, both under ONNX Runtime."""
    rows = source.rows(texts)
    with TemporaryDirectory() as place:
        paths = [Path(place, f"{name}.onnx") for name in ("whole", "small")]
        sizes = [
            source.write(path, each, also_hidden=True).bytes for path, each in zip(paths, (None, weights), strict=True)
        ]
        whole, small = (OnnxModel(path, source.engine.config) for path in paths)
        equal = agreement(source.head.main, whole, small, rows)
        return compare_encodings(whole, small, (sizes[0], sizes[1]), equal, rows)
