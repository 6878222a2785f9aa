"""One training step on one core: pretraining, also in transformers; embedding tables updated by row and as a whole.

Median processor time of all steps but the first, in turn; a pretraining step has 32 texts of 128 tokens.

python benchmarks/training_step.py [--vocab 30522 119547] [--layers 6] [--width 384] [--steps 12] [--dropout 0]
"""

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers

from bertie import BertConfig, BertForPreTraining, BertForSequenceClassification, Packed
from bertie.memory import keep_freed_memory
from bertie.training.optimizer import AdamW
from bertie.training.param_groups import groups, trainable
from bertie.training.sparse_embeddings import sparse_gradients, tables

TEXTS, SHORTEST, LONGEST = 32, 8, 40
LENGTH, MASKED = 128, 0.15
Context = Callable[[], AbstractContextManager]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, nargs="+", default=[30_522, 119_547])
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--dropout", type=float, default=0.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes = {
        "hidden_size": given.width,
        "num_hidden_layers": given.layers,
        "num_attention_heads": given.width // 32,
        "intermediate_size": 4 * given.width,
    }
    dropout = {"hidden_dropout_prob": given.dropout, "attention_probs_dropout_prob": given.dropout}
    with keep_freed_memory():
        for kind, seconds in _medians(_pretraining(sizes | dropout), given.steps).items():
            print(f"pretraining, {kind}: {seconds:.3f} s, {TEXTS * LENGTH / seconds:,.0f} tokens/s", flush=True)
        for vocab in given.vocab:
            steps = _fine_tuning(BertConfig(vocab_size=vocab, **sizes))
            for kind, seconds in _medians(steps, given.steps).items():
                print(f"fine-tuning, vocabulary {vocab:,}, {kind}: {seconds:.3f} s", flush=True)


def _medians(steps: Mapping[str, Callable[[], None]], count: int) -> dict[str, float]:
    """Return the median processor time of each kind of step; they take turns."""
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for _ in range(count):
        for kind, step in steps.items():
            start = time.process_time()
            step()
            times[kind].append(time.process_time() - start)
    return {kind: float(np.median(each[1:])) for kind, each in times.items()}


def _pretraining(config: dict[str, Any]) -> dict[str, Callable[[], None]]:
    """Return the steps of both packages from equal weights, in fp32 and with bf16 autocast."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30_000, (TEXTS, LENGTH), generator=draw)
    labels = torch.where(torch.rand(TEXTS, LENGTH, generator=draw) < MASKED, ids, -100)
    follows = torch.arange(TEXTS) % 2
    padded = {"input_ids": ids, "labels": labels, "next_sentence_label": follows}
    packed = padded | {"input_ids": Packed.from_lists(ids.tolist()), "labels": labels.flatten(), "output_logits": False}
    steps: dict[str, Callable[[], None]] = {}
    contexts: dict[str, Context] = {"fp32": nullcontext, "bf16": partial(torch.autocast, "cpu", torch.bfloat16)}
    for precision, context in contexts.items():
        reference = transformers.BertForPreTraining(transformers.BertConfig(**config)).train()
        ours = BertForPreTraining(BertConfig(**config)).train()
        ours.load_state_dict(reference.state_dict(), strict=False)
        for name, model, batch in (("transformers", reference, padded), ("bertie", ours, packed)):
            optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
            steps[f"{name}, {precision}"] = partial(_learn, model, batch, optimizer, context)
    return steps


def _learn(model: Any, batch: dict[str, Any], optimizer: torch.optim.Optimizer, context: Context) -> None:
    with context():
        loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _fine_tuning(config: BertConfig) -> dict[str, Callable[[], None]]:
    steps: dict[str, Callable[[], None]] = {}
    for kind in ("as a whole", "by rows"):
        torch.manual_seed(0)
        model = BertForSequenceClassification(config).train()
        found = tables(model) if kind == "by rows" else {}
        optimizer = AdamW(trainable(model), groups(model, 0.01, 1.0), tuple(found))
        steps[kind] = partial(_learn_ragged, model, found, optimizer, np.random.default_rng(0))
    return steps


def _learn_ragged(model: Any, found: dict[str, Any], optimizer: AdamW, draw: np.random.Generator) -> None:
    texts = [_text(draw, model.config.vocab_size) for _ in range(TEXTS)]
    labels = torch.tensor(draw.integers(0, 2, TEXTS))
    with sparse_gradients(found):
        loss = model(Packed.from_lists(texts), labels=labels).loss
        loss.backward()
    optimizer.step(1e-4, 1.0, loss.detach())
    optimizer.zero()


def _text(draw: np.random.Generator, vocab: int) -> list[int]:
    """Return ids with the frequencies of words: few are frequent."""
    ids = (draw.pareto(0.9, draw.integers(SHORTEST, LONGEST)) * 50 + 1).astype(int)
    return np.minimum(ids, vocab - 1).tolist()


if __name__ == "__main__":
    main()
