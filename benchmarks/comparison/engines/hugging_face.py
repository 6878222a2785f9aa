"""transformers: batches as given or sorted by length, eager or compiled, and its training step."""

import logging
from typing import Any

import torch
import transformers

from comparison.engines import training
from comparison.engines.answering import Answering
from comparison.engines.padded import Array, Encode, padded, runner
from comparison.engines.table import Run
from comparison.job import Job


def open(job: Job, order: str = "given", compiled: bool = False, dtype: str = "float32") -> Run:
    """Return transformers on this workload.

    Args:
        order: "given" takes the texts as they come, "sorted" those of like length together.
        compiled: whether ``torch.compile`` runs it, with dynamic shapes.
        dtype: of the weights.
    """
    torch.set_num_threads(job.threads)
    logging.getLogger("torch").setLevel(logging.ERROR)
    if job.workload.task == "train":
        return _training(job, order, compiled)
    model: Any = Answering(job.workload).to(device=job.device, dtype=getattr(torch, dtype))
    if compiled:
        model = torch.compile(model, dynamic=True)

    def forward(ids: Array, mask: Array) -> Array:
        with torch.inference_mode():
            answers = model(torch.from_numpy(ids).to(job.device), torch.from_numpy(mask).to(job.device))
            return answers.float().cpu().numpy()

    return runner(_encoder(job), forward, job.workload.batch_size, order)


def _encoder(job: Job) -> Encode:
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.workload.model, local_files_only=True)
    limit = job.workload.max_length

    def encode(texts: list[str]) -> list[list[int]]:
        rows: list[list[int]] = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        return rows

    return encode


def _training(job: Job, order: str, compiled: bool) -> Run:
    transformers.utils.logging.set_verbosity_error()
    config = transformers.BertConfig.from_pretrained(job.workload.model, **training.NO_DROPOUT)
    torch.manual_seed(training.SEED)
    plain = transformers.BertForMaskedLM.from_pretrained(job.workload.model, config=config, dtype=torch.float32)
    plain.to(job.device).train()
    model: Any = torch.compile(plain, dynamic=True) if compiled else plain

    def loss(rows: list[list[int]], labels: list[list[int]]) -> torch.Tensor:
        ids, mask = map(torch.from_numpy, padded(rows))
        targets = torch.full_like(ids, -100)
        for index, row in enumerate(labels):
            targets[index, : len(row)] = torch.tensor(row)
        found: torch.Tensor = model(
            input_ids=ids.to(job.device), attention_mask=mask.to(job.device), labels=targets.to(job.device)
        ).loss
        return found

    return training.runner(plain, loss, _encoder(job), job.workload, order)
