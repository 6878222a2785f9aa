"""One training in a process of its own: ``python train.py JOB.json`` leaves a model and what it took."""

import json
import os
import sys
from pathlib import Path

from job import CLIP, DECAY, WARMUP, Effort, Job

sys.path.append(str(Path(__file__).resolve().parents[1]))  # `comparison` lies beside this folder


def train(job: Job) -> Effort:
    """Train and save the model."""
    if job.trainer == "bertie":
        return _bertie(job)
    import peers

    return peers.sentences(job) if job.trainer == "sentence-transformers" else peers.trainer(job)


def _bertie(job: Job) -> Effort:
    import bertie

    settings = bertie.Settings(
        epochs=job.epochs,
        learning_rate=job.learning_rate,
        batch_size=job.batch_size,
        seed=job.seed,
        warmup=WARMUP,
        weight_decay=DECAY,
        max_grad_norm=CLIP,
    )
    found = bertie.finetune(
        job.task,
        job.train,
        model=job.start,
        test=job.dev,
        dev=0,
        kind=job.kind,
        max_length=job.max_length,
        settings=settings,
        device="cpu",
        show_progress=False,
        **job.options,
    )
    assert found is not None
    found.model.save_pretrained(job.out)
    found.tokenizer.save_pretrained(job.out)
    return Effort(found.history.seconds, found.history.step)


def main() -> None:
    """Run the job of the file that is named, and write ``effort.json`` beside the model."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    import torch

    from comparison.machine import Load

    torch.set_num_threads(job.threads)
    load = Load()
    with load.beside(os.getpid()):
        effort = train(job)
    figures = {**effort.to_dict(), "others": load.share}
    (Path(job.out) / "effort.json").write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
