"""Where the time of one batch goes: in the engine step by step, in a training step by PyTorch's profiler.

``--texts 1`` is a query; ``--threads 1`` is how pipelines compute several batches in parallel; ``--train`` is a
training step of a classifier, without the optimizer.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

import bertie
from bertie.engine import Engine
from bertie.engine.batch import Batch
from bertie.hub import default_embedding_model
from bertie.kernels.attention import attention
from bertie.kernels.gemm import GELU, RESIDUAL
from bertie.training.sparse_embeddings import sparse_gradients, tables
from comparison.machine import describe
from texts import full

PASSES = 20


class Rows(NamedTuple):
    """A batch of texts for the engine."""

    ids: np.ndarray
    types: np.ndarray
    lengths: list[int]


STEPS = ("queries, keys, values", "attention's output + residual", "feed-forward, GELU", "feed-forward + residual")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(default_embedding_model()), help="a folder")
    parser.add_argument("--texts", type=int, default=32, help="how many texts are in the batch")
    parser.add_argument("--tokens", type=int, default=32, help="how many tokens each has")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--train", action="store_true", help="forward and backward, with dropout")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    tokenizer = bertie.AutoTokenizer.from_pretrained(given.model)
    found = full(given.texts, given.tokens, lambda text: len(tokenizer(text)["input_ids"]))
    packed = tokenizer(found, truncation=True, max_length=given.tokens, return_tensors="packed")
    print(f"{given.texts} texts of {given.tokens} tokens, {given.threads} threads, {describe()}\n")
    if given.train:
        _profile_training(given.model, packed)
    else:
        _profile_inference(given.model, packed)


def _profile_training(folder: str, packed: Any) -> None:
    model: Any = bertie.BertForSequenceClassification.from_pretrained(folder, dtype="float32").train()
    labels = torch.zeros(packed.shape[0], dtype=torch.int64)

    def step() -> None:
        model.zero_grad()
        model(packed, labels=labels).loss.backward()

    with sparse_gradients(tables(model)):  # as in `bertie.finetune`
        print(_table(_by_operator(step), _milliseconds(step)))


def _profile_inference(folder: str, packed: Any) -> None:
    engine = Engine.open(folder, "BertModel").with_threads(torch.get_num_threads())
    rows = Rows(packed.input_ids.numpy(), packed.token_type_ids.numpy(), list(packed.lengths))
    whole = _milliseconds(lambda: engine.hidden_states(rows))
    together = engine._blocks.packed
    if together is None:
        print(f"{whole:.2f} ms; {engine.explain()}")
        return
    hidden = engine._embeddings(Batch.of(rows, engine.config), engine.threads)
    spent = _by_step(together.blocks, hidden, packed.cu_seqlens.numpy())
    print(_table(spent, whole))
    times = [spent[step] for step in STEPS]
    work = sum(2 * each.in_features * each.out_features for block in together.blocks for each in block.products)
    print(f"\nproducts: {work * len(hidden) / sum(times) / 1e6:.0f} GFLOP/s")


def _by_step(blocks: Any, hidden: Any, texts: Any) -> dict[str, float]:
    """Return the milliseconds of each step over all blocks, with weights read one after the other, as in a model."""
    calls = [_steps(block, hidden, texts) for block in blocks]
    passes: list[list[float]] = []
    for _ in range(PASSES):
        passes.append([0.0] * (len(STEPS) + 1))
        for block in calls:
            for index, call in enumerate(block):
                passes[-1][index] += _milliseconds(call, 1)
    return dict(zip((*STEPS, "attention"), map(statistics.median, zip(*passes, strict=True)), strict=True))


def _steps(block: Any, hidden: Any, texts: Any) -> list[Callable[[], Any]]:
    threads = torch.get_num_threads()
    first, output, wide, last = (partial(each, threads=threads) for each in block.products)
    q, k, v = first(hidden).reshape(-1, 3, *block.heads).swapaxes(0, 1)
    functions = block.products[0].instruction_set

    def attend() -> Any:
        return attention(q, k, v, texts, texts, functions, threads=threads).reshape(len(hidden), -1)

    context, inner = attend(), wide(hidden, GELU)
    return [
        lambda: first(hidden),
        lambda: output(context, RESIDUAL, hidden),
        lambda: wide(hidden, GELU),
        lambda: last(inner, RESIDUAL, hidden),
        attend,
    ]


def _by_operator(call: Callable[[], Any]) -> dict[str, float]:
    """Return the milliseconds that a call spends in the ten most expensive PyTorch operators."""
    call()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(PASSES):
            call()
    spent = {each.key: each.self_cpu_time_total / PASSES / 1e3 for each in found.key_averages()}
    return dict(sorted(spent.items(), key=lambda each: -each[1])[:10])


def _table(spent: dict[str, float], whole: float) -> str:
    rest = {"all else": whole - sum(spent.values())}
    lines = [f"| {name} | {time:.2f} | {time / whole:.0%} |" for name, time in (spent | rest).items()]
    return "\n".join(["| step | ms | share |", "|---|--:|--:|", *lines, f"| **a batch** | **{whole:.2f}** | |"])


def _milliseconds(call: Callable[[], Any], passes: int = PASSES) -> float:
    times = []
    for _ in range(passes):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    main()
