"""bertie: its pipelines, its tokenizer, and a training step on packed texts."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bertie
from comparison.engines import training
from comparison.engines.padded import Array, Encode
from comparison.engines.table import Run
from comparison.job import Job

CALIBRATION = 256


def open(job: Job, dtype: str = "float32", quantize: bool = False) -> Run:
    """Return bertie on this workload; ``quantize`` takes the model that `quantize` wrote."""
    torch.set_num_threads(job.threads)
    logging.getLogger("bertie").setLevel(logging.ERROR)  # every round cuts the same long texts
    work = job.workload
    if work.task == "train":
        return _training(job)
    if work.task == "tokenize":
        tokenizer = bertie.AutoTokenizer.from_pretrained(work.model)
        return lambda texts: tokenizer(list(texts), truncation=True, max_length=work.max_length)["input_ids"]
    folder = job.converted if quantize else work.model
    loading = {} if quantize else {"dtype": getattr(torch, dtype)}
    options: dict[str, Any] = {"device": job.device, "show_progress": False, "max_length": work.max_length, **loading}
    if work.task == "embed":
        vectors: Run = bertie.pipeline("embed", folder, **options)
        return vectors
    return _logits(bertie.pipeline("text-classification", folder, **options))


def quantize(job: Job, folder: Path, **_: Any) -> None:
    """Write the model's int8 form into ``folder``, calibrated on the workload's texts."""
    torch.set_num_threads(job.threads)
    ours: Any = bertie
    kind = ours.AutoModelForSequenceClassification if job.workload.task == "classify" else ours.AutoModel
    small = ours.quantize(
        kind.from_pretrained(job.workload.model), "int8", texts=list(job.workload.texts[:CALIBRATION])
    )
    # tokenizer and pooling as they were; the config is replaced
    shutil.copytree(job.workload.model, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    small.save_pretrained(folder)


def _logits(pipe: Any) -> Run:
    """Return the classifier's logits ``[N, C]`` of texts, in the order of its labels."""
    names = list(pipe.model.config.id2label.values())

    def run(texts: Sequence[str]) -> Array:
        answers = pipe(list(texts), top_k=None, function_to_apply="none")
        rows = [{one["label"]: one["score"] for one in answer} for answer in answers]
        return np.array([[row[name] for name in names] for row in rows], dtype=np.float32)

    return run


def _training(job: Job) -> Run:
    torch.manual_seed(training.SEED)
    model = bertie.BertForMaskedLM.from_pretrained(job.workload.model, **training.NO_DROPOUT)
    model.to(job.device).train()

    def loss(rows: list[list[int]], labels: list[list[int]]) -> torch.Tensor:
        packed = bertie.Packed.from_lists(rows).to(job.device)
        targets = torch.tensor([label for row in labels for label in row], device=job.device)
        found: torch.Tensor = model(packed, labels=targets, output_logits=False).loss
        return found

    return training.runner(model, loss, _encoder(job), job.workload, "given")


def _encoder(job: Job) -> Encode:
    tokenizer = bertie.AutoTokenizer.from_pretrained(job.workload.model)
    limit = job.workload.max_length

    def encode(texts: list[str]) -> list[list[int]]:
        rows: list[list[int]] = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        return rows

    return encode
