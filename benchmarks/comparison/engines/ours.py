"""bertie's pipelines and its tokenizer, without PyTorch where they do without it."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bertie
from comparison.engines.table import Run
from comparison.job import Job


def open(job: Job, dtype: str = "float32", quantize: bool = False) -> Run:
    """Return bertie on this workload; ``quantize`` takes the model that `ours_training.quantize` wrote."""
    logging.getLogger("bertie").setLevel(logging.ERROR)  # every round cuts the same long texts
    work = job.workload
    if work.task == "train":
        from comparison.engines import ours_training

        return ours_training.open(job)
    if work.task == "tokenize":
        tokenizer = bertie.AutoTokenizer.from_pretrained(work.model)
        return lambda texts: tokenizer(list(texts), truncation=True, max_length=work.max_length)["input_ids"]
    folder = job.converted if quantize else work.model
    options: dict[str, Any] = {"device": job.device, "show_progress": False, "max_length": work.max_length}
    if not quantize:
        options["dtype"] = dtype
    if work.task == "embed":
        vectors: Run = bertie.pipeline("embed", folder, **options)
        return vectors
    return _logits(bertie.pipeline("text-classification", folder, **options))


def _logits(pipe: Any) -> Run:
    """Return the classifier's logits ``[N, C]`` of texts, in the order of its labels."""
    names = list(pipe.model.config.id2label.values())

    def run(texts: Sequence[str]) -> NDArray[Any]:
        answers = pipe(list(texts), top_k=None, function_to_apply="none")
        rows = [{one["label"]: one["score"] for one in answer} for answer in answers]
        return np.array([[row[name] for name in names] for row in rows], dtype=np.float32)

    return run
