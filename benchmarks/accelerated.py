"""Programs with sentence-transformers or `transformers`, with and without `bertie.accelerate`, in turn in one process.

    python benchmarks/accelerated.py [--rounds 5] [--texts 256] [--threads 1]

Figures are medians of processor time. All models have the shape of MiniLM-L6; heads have random weights.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling

import bertie
from bertie.hub import default_embedding_model
from texts import QUESTIONS, mixed


def programs(texts: list[str], folder: str, ready: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    """Return the programs to time, by name, with models passed through ``ready``; each returns vectors or scores."""
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    embedder = ready(SentenceTransformer(folder, device="cpu"))
    reranker = ready(CrossEncoder(folder, num_labels=1, device="cpu"))
    sparse = ready(SparseEncoder(modules=[MLMTransformer(folder), SpladePooling("max")], device="cpu"))
    classes = ready(transformers.AutoModelForSequenceClassification.from_pretrained(folder))
    tags = ready(transformers.AutoModelForTokenClassification.from_pretrained(folder))
    classify = transformers.pipeline("text-classification", classes, tokenizer=tokenizer, device="cpu")
    tag = transformers.pipeline("token-classification", tags, tokenizer=tokenizer, device="cpu")
    short = [text[:600] for text in texts]
    pairs = [(QUESTIONS[0], text) for text in texts]

    def scores(found: list[Any]) -> list[float]:
        return [each["score"] for part in found for each in (part if isinstance(part, list) else [part])]

    return {
        "encode": lambda: embedder.encode(texts),
        "encode, one at a time": lambda: np.concatenate([embedder.encode([text]) for text in QUESTIONS]),
        "CrossEncoder.predict": lambda: reranker.predict(pairs),
        "SparseEncoder.encode": lambda: sparse.encode(texts[:64]).to_dense().numpy(),
        "text-classification, batches of 32": lambda: scores(classify(short, batch_size=32)),
        "text-classification, one at a time": lambda: scores(classify(short[:64])),
        "token-classification, batches of 32": lambda: scores(tag(short, batch_size=32)),
    }


def main() -> None:
    """Print a line per program: seconds without and with bertie, the speed-up, and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    texts, folder = mixed(options.texts), str(default_embedding_model())
    plain, accelerated = programs(texts, folder, lambda model: model), programs(texts, folder, bertie.accelerate)
    print(f"{'program':36} {'without':>8} {'with':>8} {'×':>6} {'differs':>8}")
    for name in (name for name in plain if options.only in name):
        without, with_it, difference = in_turn(plain[name], accelerated[name], options.rounds)
        print(f"{name:36} {without:8.3f} {with_it:8.3f} {without / with_it:6.2f} {difference:8.0e}", flush=True)


def in_turn(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """Return the median processor time of both in seconds, and the largest difference between their answers."""
    taken: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        begun = time.process_time()
        found = np.asarray(one(), dtype=np.float64)
        between = time.process_time()
        difference = float(np.abs(found - np.asarray(other(), dtype=np.float64)).max())
        taken.append((between - begun, time.process_time() - between))
    first, second = zip(*taken[1:], strict=True)  # the first round warms up
    return median(first), median(second), difference


if __name__ == "__main__":
    main()
