"""A learner for tests: a tiny BERT on random texts of different lengths, packed; also a program by itself.

python learning.py FOLDER [--steps N] [--resume] [--slow SECONDS] … trains in FOLDER and writes final.safetensors there.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from bertie import BertConfig, BertForSequenceClassification, Packed
from bertie.training import Settings, Stopped, is_first, train, world_size

TINY: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "num_labels": 3,
}
# 19 examples give steps of 6, 6, 6 and 1; a second process has none in the last
SETTINGS: dict[str, Any] = {
    "batch_size": 6,
    "learning_rate": 1e-2,
    "evaluate_every": 4,
    "seed": 3,
    "micro_tokens": 24,
    "weight_decay": 0.1,
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class TextLearner:
    """``count`` texts of 2 to 12 random ids with classes that their first id tells.

    Its ``spare`` layer is used by no example.

    In float64: the bias of a key has no gradient but rounding, which Adam would make steps of in any order of sums.
    """

    def __init__(self, count: int = 20, dropout: bool = False, seed: int = 0, **fields: Any) -> None:
        torch.manual_seed(seed)
        config = BertConfig(**TINY | ({} if dropout else NO_DROPOUT) | fields)
        self.model = BertForSequenceClassification(config)
        self.model.spare = torch.nn.Linear(3, 5)
        self.model.double()
        draw = np.random.default_rng(seed)
        self.texts = [draw.integers(1, config.vocab_size, draw.integers(2, 13)).tolist() for _ in range(count)]
        self.labels = [text[0] % 3 for text in self.texts]
        self.sizes = [len(text) for text in self.texts]
        self.seen: list[list[int]] = []
        self.delay = 0.0
        self.stop_at = self.stop_with = 0

    def divisor(self, examples: Sequence[int]) -> float:
        return float(len(examples))

    def loss(self, examples: Sequence[int]) -> Tensor:
        self.seen.append(list(examples))
        if len(self.seen) == self.stop_at:
            os.kill(os.getpid(), self.stop_with)
        time.sleep(self.delay)
        places = [each % len(self.texts) for each in examples]  # the numbering of a stream continues through the epochs
        packed = Packed.from_lists([self.texts[place] for place in places])
        labels = torch.tensor([self.labels[place] for place in places])
        return F.cross_entropy(self.model(packed).logits, labels, reduction="sum")

    def describe(self, examples: Sequence[int]) -> str:
        return "train.csv, lines " + ", ".join(str(each + 2) for each in examples)

    def accuracy(self) -> dict[str, float]:
        with torch.inference_mode():
            logits = self.model(Packed.from_lists(self.texts)).logits
        loss = F.cross_entropy(logits, torch.tensor(self.labels)).item()
        return {"accuracy": (logits.argmax(1) == torch.tensor(self.labels)).double().mean().item(), "minus_loss": -loss}


def weights(learner: TextLearner) -> dict[str, Tensor]:
    """Return a copy of the model's parameters."""
    return {name: each.detach().clone() for name, each in learner.model.named_parameters()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--kill-at", type=int, default=0, help="the last process's first try, in this call of loss")
    parser.add_argument("--dropout", action="store_true")
    parser.add_argument("--shard", action="store_true")
    options = parser.parse_args()
    learner = TextLearner(19, options.dropout)
    learner.delay = options.slow
    last = int(os.environ.get("RANK", 0)) == world_size() - 1
    if last and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        learner.stop_at, learner.stop_with = options.kill_at, signal.SIGKILL
    settings = Settings(**SETTINGS, steps=options.steps, save_every=1, shard=options.shard)
    try:
        history = train(
            learner,
            settings,
            evaluate=learner.accuracy,
            metric="minus_loss",
            folder=options.folder / "state",
            resume=options.resume,
        )
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    if is_first():
        save_file(weights(learner), str(options.folder / "final.safetensors"))
        print(history.step)


if __name__ == "__main__":
    main()
