"""Text to ids by the peers: Hugging Face's tokenizers alone, and as transformers wraps them."""

from pathlib import Path
from typing import Any

from comparison.engines.padded import encoder
from comparison.engines.table import Run
from comparison.job import Job


def open_tokenizers(job: Job) -> Run:
    """Return the ids of ``tokenizers``."""
    encode = encoder(Path(job.workload.model) / "tokenizer.json", job.workload.max_length)
    return lambda texts: encode(list(texts))


def open_transformers(job: Job) -> Run:
    """Return the ids of transformers' fast tokenizer."""
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(job.workload.model, local_files_only=True)
    limit = job.workload.max_length
    return lambda texts: tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
