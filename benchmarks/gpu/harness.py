"""What the GPU benchmarks share: arguments, models with equal weights, batches of token ids, timing in turn, results.

Every script runs from the repository's root with ``PYTHONPATH=src``; it needs PyTorch, transformers and NumPy.
"""

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import bertie

SHAPES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
}
VOCABULARY = 30_522
Engine = Callable[[], Any]


def arguments(description: str, **more: Any) -> argparse.Namespace:
    """Parse what all scripts take, and ``more``: an option's name to what ``add_argument`` takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="a model and batches that a test can run on a CPU")
    parser.add_argument("--rounds", type=int, default=5)
    for name, how in more.items():
        parser.add_argument(f"--{name}", **how)
    options = parser.parse_args()
    if options.tiny:
        options.rounds = 2
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.recompile_limit = 64  # two libraries, several modes: no limit is to be met by chance
    return options


def config(shape: str, **fields: Any) -> dict[str, Any]:
    """Return the fields of a config, the same for both libraries."""
    return {"vocab_size": VOCABULARY, "max_position_embeddings": 512, **SHAPES[shape], **fields}


def pair(kind: str, fields: dict[str, Any], device: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """Return the class ``kind`` of transformers and of bertie with the same random weights."""
    import transformers

    theirs = getattr(transformers, kind)(transformers.BertConfig(**fields, attn_implementation="sdpa"))
    theirs = theirs.to(device, dtype)
    ours = getattr(bertie, kind)(bertie.BertConfig(**fields)).to(device, dtype)
    ours.load_state_dict(theirs.state_dict(), strict=False)
    return theirs, ours


def lengths(workload: str, count: int) -> list[int]:
    """Return texts' numbers of tokens: all ``128`` or ``512``, ``128-mixed`` up to 128, or ``mixed``.

    ``mixed`` is what sentiment and review data have: seven sentences (about 25 tokens) to one review (about 230).
    """
    if workload in ("128", "512"):
        return [int(workload)] * count
    draw = np.random.default_rng(0)
    sentences = draw.lognormal(3.1, 0.45, count).clip(5, 64)
    reviews = draw.lognormal(5.4, 0.45, count).clip(64, 512)
    found = np.where(draw.random(count) < 1 / 8, reviews, sentences).astype(int)
    return found.clip(5, 128).tolist() if workload == "128-mixed" else found.tolist()


def texts(counts: Sequence[int]) -> list[np.ndarray]:
    """Return random token ids, one array a text."""
    draw = np.random.default_rng(1)
    return [draw.integers(1000, VOCABULARY, count) for count in counts]


def rectangle(ids: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """Return padded ids and mask ``[B, S]`` on the host."""
    width = max(map(len, ids))
    padded, mask = np.zeros((len(ids), width), np.int64), np.zeros((len(ids), width), np.int64)
    for row, text in enumerate(ids):
        padded[row, : len(text)], mask[row, : len(text)] = text, 1
    return {"input_ids": torch.from_numpy(padded), "attention_mask": torch.from_numpy(mask)}


def packed(ids: Sequence[np.ndarray]) -> bertie.Packed:
    """Return the texts as one packed batch on the host."""
    return bertie.Packed.from_flat(np.concatenate(ids), [len(text) for text in ids])


def forward_flops(shape: dict[str, Any], counts: Sequence[int]) -> float:
    """Return the multiplications and additions of the encoder over texts of these lengths, padding not counted."""
    width, inner, layers = shape["hidden_size"], shape["intermediate_size"], shape["num_hidden_layers"]
    tokens, squares = sum(counts), sum(count * count for count in counts)
    return layers * (tokens * (8 * width * width + 4 * width * inner) + 4 * width * squares)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(engine: Engine, device: str) -> float:
    """Return how long one run takes, until the device is done."""
    wait(device)
    start = time.perf_counter()
    engine()
    wait(device)
    return time.perf_counter() - start


def in_turn(engines: dict[str, Engine], rounds: int, device: str) -> dict[str, dict[str, float]]:
    """Time engines one after the other, ``rounds`` times, after two runs that do not count; return medians."""
    for name, engine in engines.items():
        start = time.perf_counter()
        for _ in range(2):
            engine()
        wait(device)
        print(f"  {name}: warm after {time.perf_counter() - start:.1f} s", flush=True)
    found: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            found[name].append(seconds(engine, device))
    return {
        name: {"median_s": statistics.median(times), "best_s": min(times), "worst_s": max(times)}
        for name, times in found.items()
    }


def closeness(found: Tensor, expected: Tensor) -> dict[str, float]:
    """Return mean and worst cosine of rows ``[N, D]``."""
    cosine = torch.nn.functional.cosine_similarity(found.float().cpu(), expected.float().cpu(), dim=-1)
    return {"cosine_mean": cosine.mean().item(), "cosine_worst": cosine.min().item()}


def chunks(counts: Sequence[int], order: Sequence[int], most: int, padded: bool) -> Iterator[list[int]]:
    """Yield texts in this order whose tokens (with their padding, if ``padded``) are at most ``most``."""
    batch: list[int] = []
    for text in order:
        grown = [*batch, text]
        cost = max(counts[each] for each in grown) * len(grown) if padded else sum(counts[each] for each in grown)
        if batch and cost > most:
            yield batch
            grown = [text]
        batch = grown
    yield batch


def report(name: str, options: argparse.Namespace, results: Any) -> None:
    """Write results as JSON into the folder ``$OUT``, if there is one, and print where the machine stands."""
    about = {
        "benchmark": name,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "options": {key: str(value) for key, value in vars(options).items()},
        "results": results,
    }
    if folder := os.environ.get("OUT"):
        Path(folder, f"{name}.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    print(f"{name} on {about['device']} with PyTorch {about['torch']}: done", flush=True)


def table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows with equal keys as a table."""
    print(f"\n{title}")
    cells = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    heads = list(rows[0]) if rows else []
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in (heads, *cells):
        print("  " + "  ".join(map(str.ljust, line, widths)).rstrip(), flush=True)


def release(device: str) -> None:
    """Give back the memory of models that went out of use, and forget what was compiled for them."""
    gc.collect()
    torch._dynamo.reset()
    if device == "cuda":
        torch.cuda.empty_cache()
