"""sentence-transformers: ``encode``, which sorts by length itself."""

from collections.abc import Sequence

import torch
import transformers
from sentence_transformers import SentenceTransformer

from comparison.engines.padded import Array
from comparison.engines.table import Run
from comparison.job import Job


def open(job: Job) -> Run:
    """Return sentence-transformers on this workload."""
    torch.set_num_threads(job.threads)
    transformers.utils.logging.disable_progress_bar()
    work = job.workload
    model = SentenceTransformer(work.model, device=job.device, local_files_only=True)
    model.max_seq_length = work.max_length

    def run(texts: Sequence[str]) -> Array:
        vectors: Array = model.encode(
            list(texts),
            batch_size=work.batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=work.normalize,
        )
        return vectors

    return run
