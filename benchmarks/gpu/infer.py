"""Encoder inference in bf16 on a GPU, tokens/s: transformers as given, sorted, compiled; bertie eager and compiled.

PYTHONPATH=src python benchmarks/gpu/infer.py --shape base --workloads mixed 128 512
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import (
    arguments,
    chunks,
    closeness,
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

BUDGET = 65_536
GIVEN = 64  # texts in a batch of a program that does not think of it
COUNTS = {"128": 2048, "512": 768, "mixed": 6144}


def main() -> None:
    options = arguments(
        "Encoder inference",
        shape={"default": "base"},
        workloads={"nargs": "+", "default": ["mixed", "128", "512"]},
        modes={"nargs": "*", "default": [], "help": "more modes of torch.compile to try"},
    )
    shape = "tiny" if options.tiny else options.shape
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    fields = config(shape)
    theirs, ours = (model.eval() for model in pair("BertModel", fields, options.device, dtype))
    results = {}
    for workload in options.workloads:
        counts = lengths(workload, 12 if options.tiny else COUNTS[workload])
        ids = texts(counts)
        engines = make_engines(theirs, ours, ids, options)
        with torch.inference_mode():
            checked = check(engines, theirs, ids, dtype)
            times = in_turn(engines, options.rounds, options.device)
        results[workload] = rows(times, checked, fields, counts)
        table(f"{shape}, {workload}: {len(ids)} texts, {sum(counts)} tokens", results[workload])
        del engines
        release(options.device)
    report(f"infer-{shape}", options, results)


def make_engines(theirs: nn.Module, ours: nn.Module, ids: list[np.ndarray], options: Any) -> dict[str, Any]:
    """Return each engine: a run over all texts that leaves the first token's vector of each, ``[N, D]`` on the host."""
    counts = [len(text) for text in ids]
    given, by_length = range(len(ids)), sorted(range(len(ids)), key=lambda text: -counts[text])
    as_given = [list(given[start : start + GIVEN]) for start in range(0, len(ids), GIVEN)]
    rectangles = list(chunks(counts, by_length, BUDGET, padded=True))
    runs = list(chunks(counts, by_length, BUDGET, padded=False))
    backend = "eager" if options.tiny else "inductor"
    compiled_theirs = torch.compile(theirs, dynamic=True, backend=backend)

    def padded(model: Callable[..., Any], batches: list[list[int]]) -> Callable[[], Tensor]:
        return lambda: gathered(batches, lambda batch: of_rectangle(model, [ids[text] for text in batch], options))

    def ragged(model: nn.Module) -> Callable[[], Tensor]:
        return lambda: gathered(runs, lambda batch: of_packed(model, [ids[text] for text in batch], options))

    engines = {
        "transformers, as given": padded(theirs, as_given),
        "transformers, sorted": padded(theirs, rectangles),
        "transformers, sorted, compiled": padded(compiled_theirs, rectangles),
        "bertie, eager": ragged(ours),
    }
    for mode in (None, *([] if options.tiny else options.modes)):
        name = "bertie, compiled" + (f", {mode}" if mode else "")
        engines[name] = ragged(bertie.compile(copy.deepcopy(ours), mode=mode, backend=backend))
    return engines


def of_rectangle(model: Callable[..., Any], ids: list[np.ndarray], options: Any) -> Tensor:
    batch = {name: value.to(options.device, non_blocking=True) for name, value in rectangle(ids).items()}
    return model(**batch).last_hidden_state[:, 0]


def of_packed(model: nn.Module, ids: list[np.ndarray], options: Any) -> Tensor:
    batch = packed(ids).to(options.device)
    return batch.first(model(batch).last_hidden_state)


def gathered(batches: list[list[int]], compute: Callable[[list[int]], Tensor]) -> Tensor:
    """Launch all batches, then fetch the answers: the host waits once."""
    vectors = torch.cat([compute(batch) for batch in batches]).float().cpu()
    order = torch.tensor([text for batch in batches for text in batch])
    return torch.empty_like(vectors).index_copy_(0, order, vectors)


def check(engines: dict[str, Any], theirs: nn.Module, ids: list[np.ndarray], dtype: torch.dtype) -> dict[str, Any]:
    """Compare each engine's vectors of some texts with transformers in float32; refuse to time wrong ones."""
    some = list(range(0, len(ids), max(1, len(ids) // 64)))
    device = next(theirs.parameters()).device
    exact = copy.deepcopy(theirs).float()
    expected = torch.cat(
        [exact(torch.from_numpy(ids[text])[None].to(device)).last_hidden_state[:, 0].cpu() for text in some]
    )
    found = {name: closeness(engine()[some], expected) for name, engine in engines.items()}
    least = 0.998 if dtype == torch.bfloat16 else 0.99999
    for name, close in found.items():
        assert close["cosine_worst"] > least, f"{name} computes something else: {close}"
    return found


def rows(
    times: dict[str, Any], checked: dict[str, Any], fields: dict[str, Any], counts: list[int]
) -> list[dict[str, Any]]:
    first = next(iter(times.values()))["median_s"]
    return [
        {
            "engine": name,
            "tokens/s": sum(counts) / time["median_s"],
            "TFLOP/s": forward_flops(fields, counts) / time["median_s"] / 1e12,
            "x as given": first / time["median_s"],
            "spread": time["worst_s"] / time["best_s"],
            "worst cosine": checked[name]["cosine_worst"],
        }
        for name, time in times.items()
    ]


if __name__ == "__main__":
    main()
