"""Masked-LM training on all GPUs of this machine: one alone, then all with the whole model (DDP), then with shards.

PYTHONPATH=src python benchmarks/gpu/many.py --shape large --texts 128 --text-length 128

Tokens a second of all processes together, and the memory of the first. It starts torchrun for each way.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from harness import VOCABULARY, arguments, config, packed, report, table, texts
from torch import Tensor

import bertie
from bertie.training import Settings, is_first, local_device, train, world_size

IGNORED = -100
WARM = 5  # steps that do not count


class MaskedTexts:
    """A learner of random texts, 15 % of whose tokens are to be guessed."""

    def __init__(self, fields: dict[str, Any], count: int, length: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.model = bertie.BertForMaskedLM(bertie.BertConfig(**fields)).to(device)
        self.texts, self.sizes, self.device = texts([length] * count), [length] * count, device

    def divisor(self, examples: Sequence[int]) -> float:
        return 0.15 * sum(self.sizes[each] for each in examples)

    def loss(self, examples: Sequence[int]) -> Tensor:
        ids = [self.texts[each] for each in examples]
        labels = torch.from_numpy(np.concatenate(ids) % VOCABULARY)
        labels[torch.rand(len(labels)) > 0.15] = IGNORED
        batch = packed(ids).to(self.device)
        return self.model(batch, labels=labels.to(self.device), output_logits=False).loss * (labels != IGNORED).sum()

    def describe(self, examples: Sequence[int]) -> str:
        return f"texts {list(examples)}"


def main() -> None:
    options = arguments(
        "Masked-LM training on many GPUs",
        shape={"default": "base"},
        texts={"type": int, "default": 256, "help": "of a step, for each process"},
        **{"text-length": {"type": int, "default": 128}, "steps": {"type": int, "default": 40}},
        processes={"type": int, "default": 0, "help": "instead of one for each GPU"},
        way={"default": ""},
    )
    if options.tiny:
        options.shape, options.texts, options.text_length, options.steps = "tiny", 4, 16, WARM + 2
    if options.way:
        measure(options)
        return
    several = options.processes or (torch.cuda.device_count() if options.device == "cuda" else 2)
    ways = [("alone", 1), *((way, several) for way in ("replicas", "shards") if several > 1)]
    rows = [started(way, processes) for way, processes in ways]
    table(f"{options.shape}: {options.texts} texts of {options.text_length} tokens a step and process", rows)
    report(f"many-{options.shape}", options, rows)


def started(way: str, processes: int) -> dict[str, Any]:
    """Train in processes of their own, and return what the first says."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, "-m", *launcher, __file__, *sys.argv[1:], "--way", way]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    return {"way": way, "processes": processes, **json.loads(done.stdout.splitlines()[-1])}


def measure(options: Any) -> None:
    device = local_device() if options.device == "cuda" else torch.device("cpu")
    per_step = options.texts * world_size()
    learner = MaskedTexts(config(options.shape), per_step, options.text_length, device)
    settings = Settings(steps=options.steps, batch_size=per_step, log_every=WARM, shard=options.way == "shards")
    history = train(learner, settings, show_progress=False)
    if is_first():
        warm, last = (next(each for each in records if "loss" in each) for records in both_ways(history.records))
        tokens = (last["step"] - warm["step"]) * per_step * options.text_length
        memory = torch.cuda.max_memory_allocated() / 2**30 if options.device == "cuda" else 0.0
        print(json.dumps({"tokens/s": tokens / (last["seconds"] - warm["seconds"]), "GiB": memory}))


def both_ways(records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return records, records[::-1]


if __name__ == "__main__":
    main()
