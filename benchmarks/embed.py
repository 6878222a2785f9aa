"""Texts per second of bertie beside transformers, as given, on 256 real texts in one run: ``make bench``.

Both embed the same texts with all-MiniLM-L6-v2 in float32 (mean of the tokens, length 1), in turn, with equal threads.
transformers takes 32 texts at a time in the given order and pads each batch to its longest, as people usually run it.
Before anything is timed the vectors must be equal.
"""

import argparse
import csv
import logging
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers

import bertie
from bertie.batching import padding_share
from bertie.cli.demo import read_book
from bertie.hub import default_embedding_model

Embed = Callable[[list[str]], np.ndarray]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def texts(count: int) -> list[str]:
    """Return short and long texts, mixed by a fixed seed: reviews' sentences and, one in eight, whole reviews.

    Without the data beside the checkout they come from the novel in the package.
    """
    if not DATA.is_dir():
        return random.Random(0).sample(read_book(), count)
    columns = []
    for name in ("sentiment", "reviews"):
        with (DATA / name / "dev.csv").open(encoding="utf-8", newline="") as file:
            columns.append([row["text"] for row in csv.DictReader(file)])
    mixed = columns[0][: count - count // 8] + columns[1][: count // 8]
    random.Random(0).shuffle(mixed)
    return mixed


def ours() -> Embed:
    """Return bertie's pipeline."""
    return bertie.pipeline("embed", device="cpu")


def theirs(batch_size: int = 32) -> Embed:
    """Return the loop that transformers' users write, as the model's card shows it."""
    folder = default_embedding_model()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def embed(texts: list[str]) -> np.ndarray:
        vectors = []
        for start in range(0, len(texts), batch_size):
            part = texts[start : start + batch_size]
            batch = tokenizer(part, padding=True, truncation=True, max_length=256, return_tensors="pt")
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).float()
            vectors.append(F.normalize((hidden * mask).sum(1) / mask.sum(1)))
        return torch.cat(vectors).numpy()

    return embed


def seconds(embed: Embed, texts: list[str]) -> float:
    start = time.perf_counter()
    embed(texts)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = texts(options.texts)
    engines = {"transformers": theirs(), "bertie": ours()}
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("bertie").setLevel(logging.ERROR)  # every round cuts the same long texts
    # the first call of each is the warm-up, and the proof that both do the same work
    found = {name: embed(given) for name, embed in engines.items()}
    difference = float(np.abs(found["bertie"] - found["transformers"]).max())
    if not difference < 1e-5:
        raise SystemExit(f"the vectors differ by {difference}: nothing is timed")
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(options.rounds):
        for name, embed in engines.items():
            times[name].append(seconds(embed, given))
    lengths = [
        min(len(ids), 256)
        for ids in bertie.AutoTokenizer.from_pretrained(default_embedding_model())(given)["input_ids"]
    ]
    print(
        f"{len(given)} texts, {sum(lengths)} tokens, {padding_share(lengths):.0%} padding in batches of 32; "
        f"{options.threads} threads, {options.rounds} rounds in turn, medians; vectors differ by {difference:.1e}"
    )
    medians = {name: statistics.median(rounds) for name, rounds in times.items()}
    for name, median in medians.items():
        print(f"{name:<13} {len(given) / median:7.1f} texts/s  (rounds {', '.join(f'{t:.2f}' for t in times[name])} s)")
    print(f"bertie is {medians['transformers'] / medians['bertie']:.2f} times as fast")


if __name__ == "__main__":
    main()
