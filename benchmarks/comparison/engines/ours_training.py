"""bertie with PyTorch: a training step on packed texts, and the int8 form of a model."""

import shutil
from pathlib import Path
from typing import Any

import torch

import bertie
from comparison.engines import training
from comparison.engines.padded import Encode
from comparison.engines.table import Run
from comparison.job import Job

CALIBRATION = 256


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


def open(job: Job) -> Run:
    """Return the losses of a pass over texts, by the step that all engines do."""
    torch.set_num_threads(job.threads)
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
