"""CTranslate2: its encoder in fp32 or int8; pooling and the classifier's last product, which it lacks, in NumPy."""

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np

from comparison.engines.padded import Array, encoder, runner
from comparison.engines.table import Run
from comparison.job import Job

ENCODER = "encoder"


def convert(job: Job, folder: Path, compute_type: str) -> None:
    """Convert transformers' model; a classifier's weights are kept beside it."""
    import torch
    import transformers

    from comparison.engines.answering import Answering, save_tokenizer

    save_tokenizer(job.workload, folder)
    source = folder / "source"
    model = transformers.BertModel.from_pretrained(job.workload.model, dtype=torch.float32)
    # the converter asks for a field that newer configs leave out
    model.config.position_embedding_type = "absolute"
    model.save_pretrained(source)
    save_tokenizer(job.workload, source)
    ctranslate2.converters.TransformersConverter(str(source)).convert(
        str(folder / ENCODER), quantization="int8" if compute_type.startswith("int8") else None
    )
    if job.workload.task == "classify":
        classifier: Any = Answering(job.workload).model.classifier
        np.save(folder / "weight.npy", classifier.weight.detach().numpy())
        np.save(folder / "bias.npy", classifier.bias.detach().numpy())


def open(job: Job, compute_type: str) -> Run:
    """Return CTranslate2 on this workload."""
    folder, work = job.converted, job.workload
    runtime = ctranslate2.Encoder(
        str(folder / ENCODER),
        device="cpu",
        compute_type=compute_type,
        inter_threads=job.workers,
        intra_threads=job.threads // job.workers,
    )
    head = [np.load(folder / f"{name}.npy") for name in ("weight", "bias")] if work.task == "classify" else []

    def forward(ids: Array, mask: Array) -> Array:
        lengths = mask.sum(1).astype(np.int32)
        found = runtime.forward_batch(
            ctranslate2.StorageView.from_array(ids.astype(np.int32)), ctranslate2.StorageView.from_array(lengths)
        )
        if head:
            return np.asarray(found.pooler_output) @ head[0].T + head[1]
        return _vectors(np.asarray(found.last_hidden_state), mask, work.pooling, work.normalize)

    return runner(encoder(folder / "tokenizer.json", work.max_length), forward, work.batch_size, workers=job.workers)


def _vectors(hidden: Array, mask: Array, pooling: str, normalize: bool) -> Array:
    """Return a vector a text ``[B, D]`` of hidden states ``[B, S, D]``."""
    if pooling == "cls":
        vectors = hidden[:, 0]
    else:
        weights = mask[:, None, :].astype(np.float32)
        vectors = (weights @ hidden)[:, 0] / weights.sum(2)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) if normalize else vectors
