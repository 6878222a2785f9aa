"""ONNX Runtime: the exported model with its attention fused, in fp32 or with dynamically quantised weights."""

import logging
import warnings
from pathlib import Path
from typing import Any

import onnxruntime

from comparison.engines.padded import Array, encoder, runner
from comparison.engines.table import Run
from comparison.job import Job

NAME = "model.onnx"
INPUTS = ("input_ids", "attention_mask")


def convert(job: Job, folder: Path, quantized: bool = False) -> None:
    """Export transformers' model, and quantise it if asked."""
    from comparison.engines.answering import Answering, save_tokenizer

    save_tokenizer(job.workload, folder)
    # the graph of the plain attention is the one that the runtime's optimiser knows how to fuse
    export(Answering(job.workload, attention="eager"), folder / "exported.onnx")
    fuse(folder / "exported.onnx", folder / NAME, job)
    (folder / "exported.onnx").unlink()
    if quantized:
        quantize(folder)


def export(model: Any, path: Path) -> None:
    """Write ``model`` as ONNX with any number of texts of any length."""
    import torch

    from comparison.engines.answering import example

    axes = {0: "texts", 1: "length"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            example(),
            path,
            dynamo=False,
            opset_version=18,
            input_names=list(INPUTS),
            output_names=["answers"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "answers": {0: "texts"}},
        )


def fuse(source: Path, target: Path, job: Job) -> None:
    """Write the model as ONNX Runtime's own optimiser for BERT fuses it."""
    import transformers
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    logging.getLogger("onnxruntime").setLevel(logging.ERROR)
    config = transformers.AutoConfig.from_pretrained(job.workload.model)
    fused = optimizer.optimize_model(
        str(source),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=FusionOptions("bert"),
    )
    fused.save_model_to_file(str(target))


def quantize(folder: Path) -> None:
    """Replace the model by its int8 form: weights per channel, activations scaled at each call."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain = (folder / NAME).rename(folder / "plain.onnx")
    # ONNX cannot infer what the fused operators give: it is told that all is float
    told = {"DefaultTensorType": onnx.TensorProto.FLOAT, "MatMulConstBOnly": True}
    quantize_dynamic(plain, folder / NAME, weight_type=QuantType.QInt8, per_channel=True, extra_options=told)
    plain.unlink()


def open(job: Job, quantized: bool = False) -> Run:
    """Return ONNX Runtime on this workload; ``quantized`` says which file `convert` has written."""
    del quantized
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads // job.workers
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(job.converted / NAME, options, providers=["CPUExecutionProvider"])

    def forward(ids: Array, mask: Array) -> Array:
        answers: Array = session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]
        return answers

    encode = encoder(job.converted / "tokenizer.json", job.workload.max_length)
    return runner(encode, forward, job.workload.batch_size, workers=job.workers)
