"""OpenVINO: the converted model with its precision set, in fp32, bf16, or int8 by NNCF's post-training quantisation."""

import os
import threading
from pathlib import Path
from typing import Any

import openvino

from comparison.engines.padded import Array, batches, encoder, padded, runner
from comparison.engines.table import Run
from comparison.job import Job

NAME = "model.xml"
CALIBRATION = 300


def convert(job: Job, folder: Path, precision: str, quantized: bool = False) -> None:
    """Convert transformers' model, and quantise it with the workload's texts if asked."""
    del precision
    os.environ["OPENVINO_TELEMETRY"] = "0"
    from comparison.engines.answering import Answering, example, save_tokenizer

    save_tokenizer(job.workload, folder)
    ids, mask = example()
    shape = openvino.PartialShape([-1, -1])
    model = openvino.convert_model(
        Answering(job.workload),
        example_input={"input_ids": ids, "attention_mask": mask},
        input=[("input_ids", shape, openvino.Type.i64), ("attention_mask", shape, openvino.Type.i64)],
    )
    if quantized:
        model = _quantized(model, job, folder)
    openvino.save_model(model, folder / NAME, compress_to_fp16=False)


def _quantized(model: Any, job: Job, folder: Path) -> Any:
    import nncf

    encode = encoder(folder / "tokenizer.json", job.workload.max_length)
    rows = encode(list(job.workload.texts[:CALIBRATION]))
    samples = [padded([rows[index] for index in batch]) for batch in batches(rows, 1, "given")]
    inputs = [{"input_ids": ids, "attention_mask": mask} for ids, mask in samples]
    return nncf.quantize(
        model, nncf.Dataset(inputs), model_type=nncf.ModelType.TRANSFORMER, subset_size=max(len(inputs), 1)
    )


def open(job: Job, precision: str, quantized: bool = False) -> Run:
    """Return OpenVINO on this workload, computing in ``precision`` ("f32" or "bf16") where it is not int8."""
    del quantized
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": job.threads,
        "NUM_STREAMS": job.workers,
        "ENABLE_HYPER_THREADING": True,
    }
    model = core.compile_model(core.read_model(job.converted / NAME), "CPU", settings)
    own = threading.local()  # a request serves one thread at a time

    def forward(ids: Array, mask: Array) -> Array:
        if not hasattr(own, "request"):
            own.request = model.create_infer_request()
        answers: Array = own.request.infer({"input_ids": ids, "attention_mask": mask})[0]
        return answers.copy()

    encode = encoder(job.converted / "tokenizer.json", job.workload.max_length)
    return runner(encode, forward, job.workload.batch_size, workers=job.workers)
