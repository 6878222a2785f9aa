"""A small BERT from scratch: bertie beside transformers' Trainer, with one start, one order and one masking.

python benchmarks/pretraining/from_scratch.py DATA --steps 2000

DATA is a folder of ``bertie prepare``. As in transformers' ``run_mlm``, texts are stretches of 128 tokens, so that
there is nothing to pad, and every token goes through the decoder there. What the Trainer reads is made and masked by
bertie before its clock runs. Prints tokens by second of processor time, which other programs hardly change, their
ratio and the losses, and draws both curves.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from torch.nn.utils.rnn import pad_sequence

import bertie
from bertie.config import IGNORED
from bertie.pretraining.heldout import heldout_figures
from bertie.pretraining.pretraining_learner import PretrainingLearner
from bertie.pretraining.shards import TOKENIZER, Corpus
from bertie.settings import Settings
from bertie.training import train
from bertie.training.sampler import Sampler
from bertie.training.schedule import rate_factor

SHAPE = {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
RESULTS = Path(__file__).resolve().parents[1] / "results"
LENGTH = 128


class Curve(NamedTuple):
    """What one side did: each step's loss, the processor seconds of all, loss and accuracy on held-out documents."""

    losses: list[float]
    seconds: float
    heldout: dict[str, float]


class Steps(torch.utils.data.Dataset):
    """The batches of all steps as rectangles, in the order in which bertie's loop takes them."""

    def __init__(self, learner: PretrainingLearner, settings: Settings) -> None:
        sampler = Sampler(learner.sizes, settings.seed, None, settings.batch_tokens)
        self.batches = [_padded(learner, sampler.examples(step).tolist()) for step in range(settings.steps or 0)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        return self.batches[step]


class Peer(transformers.Trainer):
    """transformers' Trainer, given its batches, and bertie's rates: of its own the first step's is 0."""

    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.train_dataset, batch_size=None)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        rate = partial(rate_factor, total=num_training_steps, warmup=self.args.warmup_steps, kind="linear")
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, rate)
        return self.lr_scheduler


def _padded(learner: PretrainingLearner, examples: list[int]) -> dict[str, torch.Tensor]:
    batch = learner.batch(examples)

    def rows(values: Any, fill: int) -> torch.Tensor:
        return pad_sequence(torch.as_tensor(values).split(batch.features.lengths), batch_first=True, padding_value=fill)

    ids, labels = rows(batch.features.ids, 0), rows(batch.labels, IGNORED)
    return {"input_ids": ids, "attention_mask": rows(np.ones_like(batch.labels), 0), "labels": labels}


def of_bertie(start: Path, data: Path, settings: Settings) -> Curve:
    model = bertie.BertForMaskedLM.from_pretrained(start)
    began = time.process_time()
    history = train(_learner(model, data, settings.seed), settings, show_progress=True)
    seconds = time.process_time() - began
    return Curve([line["loss"] for line in history.records if "loss" in line], seconds, _heldout(model, data))


def of_transformers(start: Path, data: Path, settings: Settings) -> Curve:
    steps = Steps(_learner(bertie.BertForMaskedLM.from_pretrained(start), data, settings.seed), settings)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            max_steps=settings.steps,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            seed=settings.seed,
        )
        peer = Peer(transformers.BertForMaskedLM.from_pretrained(start), arguments, train_dataset=steps)
        began = time.process_time()
        peer.train()
        seconds = time.process_time() - began
        peer.model.save_pretrained(folder)
        trained = bertie.BertForMaskedLM.from_pretrained(folder)
    return Curve([line["loss"] for line in peer.state.log_history if "loss" in line], seconds, _heldout(trained, data))


def _learner(model: Any, data: Path, seed: int, part: str = "train") -> PretrainingLearner:
    tokenizer = bertie.BertTokenizer.from_pretrained(data / TOKENIZER)
    return PretrainingLearner(model, Corpus(data, part), tokenizer, length=LENGTH, next_sentence=False, seed=seed)


def _heldout(model: Any, data: Path) -> dict[str, float]:
    return heldout_figures(_learner(model.eval(), data, 0, "heldout"))


def report(curves: dict[str, Curve], settings: Settings) -> Iterator[str]:
    """Yield what was found, in lines; losses are those of the last tenth of the steps."""
    tokens = (settings.steps or 0) * (settings.batch_tokens or 0)
    last = max(1, (settings.steps or 0) // 10)
    for name, curve in curves.items():
        loss, held = np.mean(curve.losses[-last:]), curve.heldout
        yield (
            f"{name:<13}{tokens / curve.seconds:8,.0f} tokens by processor second   loss of the last {last} steps {loss:.3f}   "
            f"held out: loss {held['loss']:.3f}, accuracy {held['accuracy']:.1%}"
        )
    ours, theirs = curves["bertie"], curves["transformers"]
    apart = np.subtract(ours.losses, theirs.losses)[-last:]
    yield f"losses apart {apart.mean():+.4f} ± {1.96 * apart.std() / np.sqrt(last):.4f} (95 %, step by step)"
    yield f"speed        {theirs.seconds / ours.seconds:.2f} times that of transformers' Trainer"


def draw(curves: dict[str, Curve], settings: Settings, out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    by_tokens, by_time = figure.subplots(1, 2, sharey=True)
    for name, curve in curves.items():
        window = max(1, len(curve.losses) // 50)
        smooth = np.convolve(curve.losses, np.ones(window) / window, "valid")
        share = np.arange(window, len(curve.losses) + 1) / len(curve.losses)
        by_tokens.plot(share * len(curve.losses) * (settings.batch_tokens or 0) / 1e6, smooth, label=name)
        by_time.plot(share * curve.seconds / 60, smooth, label=name)
    by_tokens.set(xlabel="million tokens", ylabel="masked-LM loss")
    by_time.set(xlabel="minutes of processor time")
    by_tokens.legend()
    figure.savefig(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--batch-tokens", type=int, default=4_096)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    settings = Settings(
        steps=asked.steps,
        batch_tokens=asked.batch_tokens,
        learning_rate=asked.learning_rate,
        warmup=max(1, asked.steps // 10),
        log_every=1,
    )
    sizes = {"vocab_size": len(bertie.BertTokenizer.from_pretrained(asked.data / TOKENIZER)), **SHAPE}
    dropout = {"hidden_dropout_prob": asked.dropout, "attention_probs_dropout_prob": asked.dropout}
    with tempfile.TemporaryDirectory() as start:
        torch.manual_seed(0)
        bertie.BertForMaskedLM(bertie.BertConfig(**sizes, **dropout)).save_pretrained(start)
        curves = {
            "bertie": of_bertie(Path(start), asked.data, settings),
            "transformers": of_transformers(Path(start), asked.data, settings),
        }
    print("\n".join(report(curves, settings)))
    RESULTS.mkdir(exist_ok=True)
    found = {name: curve._asdict() for name, curve in curves.items()}
    (RESULTS / "from_scratch.json").write_text(json.dumps(found), encoding="utf-8")
    draw(curves, settings, RESULTS / "from_scratch.png")


if __name__ == "__main__":
    main()
