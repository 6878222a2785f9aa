"""One training step on one core, with embedding tables updated by rows and as a whole: processor time, in turn.

python benchmarks/training_step.py [--vocab 30522 119547] [--layers 6] [--width 384] [--steps 12]
"""

import argparse
import time

import numpy as np
import torch

from bertie import BertConfig, BertForSequenceClassification, Packed
from bertie.training.optimizer import AdamW
from bertie.training.param_groups import groups, trainable
from bertie.training.sparse_embeddings import by_rows, tables

TEXTS, SHORTEST, LONGEST = 32, 8, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, nargs="+", default=[30_522, 119_547])
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for vocab in given.vocab:
        config = BertConfig(
            vocab_size=vocab,
            hidden_size=given.width,
            num_hidden_layers=given.layers,
            intermediate_size=4 * given.width,
        )
        for kind, seconds in _measured(config, given.steps).items():
            print(f"vocabulary {vocab:,}, {kind}: {seconds:.3f} s")


def _measured(config: BertConfig, steps: int) -> dict[str, float]:
    """Return the median of the processor time of a step, the first left out."""
    runs = {}
    for kind in ("as a whole", "by rows"):
        torch.manual_seed(0)
        model = BertForSequenceClassification(config).train()
        found = tables(model) if kind == "by rows" else {}
        runs[kind] = model, found, AdamW(trainable(model), groups(model, 0.01, 1.0), tuple(found))
    times: dict[str, list[float]] = {kind: [] for kind in runs}
    draw = np.random.default_rng(0)
    for _ in range(steps):
        texts = [_text(draw, config.vocab_size) for _ in range(TEXTS)]
        labels = torch.tensor(draw.integers(0, 2, TEXTS))
        for kind, (model, found, optimizer) in runs.items():
            start = time.process_time()
            with by_rows(found):
                loss = model(Packed.from_lists(texts), labels=labels).loss
                loss.backward()
            optimizer.step(1e-4, 1.0, loss.detach())
            optimizer.zero()
            times[kind].append(time.process_time() - start)
    return {kind: float(np.median(each[1:])) for kind, each in times.items()}


def _text(draw: np.random.Generator, vocab: int) -> list[int]:
    """Return ids as words are spread: few are frequent."""
    ids = (draw.pareto(0.9, draw.integers(SHORTEST, LONGEST)) * 50 + 1).astype(int)
    return np.minimum(ids, vocab - 1).tolist()


if __name__ == "__main__":
    main()
