"""A masked-LM training step on a GPU, bf16 autocast over float32 weights, fused AdamW: real tokens/s.

PYTHONPATH=src python benchmarks/gpu/train.py --workloads 128 128-mixed 512 --dropouts 0 0.1
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import (
    VOCABULARY,
    arguments,
    config,
    forward_flops,
    in_turn,
    lengths,
    packed,
    pair,
    rectangle,
    release,
    report,
    table,
    texts,
)
from torch import Tensor, nn

import bertie
from bertie.layers import losses

TEXTS = {"128": 256, "128-mixed": 512, "512": 64}
IGNORED = -100


def main() -> None:
    options = arguments(
        "Masked-LM training",
        shape={"default": "base"},
        workloads={"nargs": "+", "default": ["128", "128-mixed", "512"]},
        dropouts={"nargs": "+", "type": float, "default": [0.0, 0.1], "help": "of attention weights"},
    )
    shape = "tiny" if options.tiny else options.shape
    results: dict[str, Any] = {}
    for workload in options.workloads:
        counts = lengths(workload, 4 if options.tiny else TEXTS[workload])
        for dropout in options.dropouts:
            fields = config(shape, attention_probs_dropout_prob=dropout)
            rows = measured(fields, texts(counts), options)
            results[f"{workload}, attention dropout {dropout}"] = rows
            table(f"{shape}, {workload}, attention dropout {dropout}: {sum(counts)} tokens a step", rows)
            release(options.device)
    report(f"train-{shape}", options, results)


def measured(fields: dict[str, Any], ids: list[np.ndarray], options: Any) -> list[dict[str, Any]]:
    """Check that all engines have the same loss, then time their steps."""
    counts, labels = [len(text) for text in ids], masked(ids)
    backend = "eager" if options.tiny else "inductor"
    engines: dict[str, Step] = {}
    for name in ("transformers, eager", "transformers, compiled"):
        theirs, _ = pair("BertForMaskedLM", fields, options.device, torch.float32)
        run = torch.compile(theirs, dynamic=True, backend=backend) if "compiled" in name else theirs
        engines[name] = Step(theirs, of_rectangle(run, ids, labels, options), options)
    for name in ("bertie, eager", "bertie, compiled", "bertie, compiled, loss too"):
        _, ours = pair("BertForMaskedLM", fields, options.device, torch.float32)
        engines[name] = Step(ours, of_packed(ours, ids, labels, options), options)
        if "compiled" in name:
            bertie.compile(ours, backend=backend)
        if "loss" in name:
            engines[name].patch = (
                losses,
                "cross_entropy",
                torch.compile(losses.cross_entropy, dynamic=True, backend=backend),
            )
    if options.device == "cuda":
        print(bertie.explain_attention(ours.half(), packed(ids).to("cuda")), flush=True)
        ours.float()
    expected = engines["transformers, eager"].evaluated()
    for name, engine in engines.items():
        loss = engine.evaluated()
        assert abs(loss - expected) < 0.01 * expected, f"{name} has the loss {loss}, not {expected}"
    times = in_turn(dict(engines), options.rounds, options.device)
    first = times["transformers, eager"]["median_s"]
    return [
        {
            "engine": name,
            "tokens/s": sum(counts) / time["median_s"],
            "encoder TFLOP/s": 3 * forward_flops(fields, counts) / time["median_s"] / 1e12,
            "x eager": first / time["median_s"],
            "spread": time["worst_s"] / time["best_s"],
        }
        for name, time in times.items()
    ]


class Step:
    """One engine's training step: forward, backward, update. ``loss`` computes the loss of the one batch."""

    def __init__(self, model: nn.Module, loss: Callable[[], Tensor], options: Any) -> None:
        self.model, self.loss, self.device = model.train(), loss, options.device
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        self.patch: tuple[Any, str, Any] | None = None

    def __call__(self) -> None:
        with self.ready():
            loss = self.loss()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def evaluated(self) -> float:
        """Return the loss without dropout."""
        self.model.eval()
        with self.ready():
            loss = self.loss().item()
        self.model.train()
        return loss

    @contextlib.contextmanager
    def ready(self) -> Any:
        before = None if self.patch is None else getattr(*self.patch[:2])
        if self.patch is not None:
            setattr(*self.patch)
        with torch.autocast(self.device, torch.bfloat16):
            yield
        if self.patch is not None:
            setattr(*self.patch[:2], before)


def masked(ids: list[np.ndarray]) -> list[np.ndarray]:
    """Return labels: 15 % of each text's tokens."""
    draw = np.random.default_rng(2)
    return [np.where(draw.random(len(text)) < 0.15, text % VOCABULARY, IGNORED) for text in ids]


def of_rectangle(model: Callable[..., Any], ids: Any, labels: Any, options: Any) -> Callable[[], Tensor]:
    host = rectangle(ids)
    places = torch.full_like(host["input_ids"], IGNORED)
    for row, text in enumerate(labels):
        places[row, : len(text)] = torch.from_numpy(text)
    host["labels"] = places
    return lambda: model(**{name: value.to(options.device, non_blocking=True) for name, value in host.items()}).loss


def of_packed(model: Callable[..., Any], ids: Any, labels: Any, options: Any) -> Callable[[], Tensor]:
    host, flat = packed(ids), torch.from_numpy(np.concatenate(labels))
    if options.device == "cuda":
        flat = flat.pin_memory()
    return lambda: (
        model(host.to(options.device), labels=flat.to(options.device, non_blocking=True), output_logits=False).loss
    )


if __name__ == "__main__":
    main()
