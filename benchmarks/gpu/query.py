"""One short query in bf16 on a GPU, from ids on the host to a vector on the host: p50 and p99 in milliseconds.

PYTHONPATH=src python benchmarks/gpu/query.py
"""

import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from harness import arguments, closeness, config, packed, pair, report, table, texts
from torch import Tensor

import bertie

LENGTHS = (8, 16, 32, 128)


def main() -> None:
    options = arguments("Latency of one query", shape={"default": "base"})
    shape, repeats = ("tiny", 5) if options.tiny else (options.shape, 500)
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    theirs, ours = (model.eval() for model in pair("BertModel", config(shape), options.device, dtype))
    backend = "eager" if options.tiny else "inductor"

    def padded(model: Callable) -> Callable[[np.ndarray], Tensor]:
        return lambda ids: model(torch.from_numpy(ids)[None].to(options.device)).last_hidden_state[0, 0].float().cpu()

    def ragged(model: Callable, on_host: bool = False) -> Callable[[np.ndarray], Tensor]:
        def run(ids: np.ndarray) -> Tensor:
            batch = packed([ids])
            return model(batch if on_host else batch.to(options.device)).last_hidden_state[0].float().cpu()

        return run

    engines = {
        "transformers": padded(theirs),
        "transformers, compiled": padded(torch.compile(theirs, dynamic=True, backend=backend)),
        "transformers, reduce-overhead": padded(torch.compile(copy.deepcopy(theirs), mode="reduce-overhead")),
        "bertie, eager": ragged(ours),
        "bertie, compiled": ragged(bertie.compile(copy.deepcopy(ours), backend=backend, graphs=False)),
        "bertie, compiled, graphs": ragged(bertie.compile(copy.deepcopy(ours), backend=backend), on_host=True),
        "bertie, eager blocks, graphs": ragged(bertie.compile(copy.deepcopy(ours), backend="eager"), on_host=True),
    }
    if options.tiny:
        del engines["transformers, reduce-overhead"]
    results = []
    for length in LENGTHS[: 1 if options.tiny else None]:
        queries = texts([length] * 16)
        with torch.inference_mode():
            expected = torch.stack([engines["transformers"](query) for query in queries])
            for name, engine in engines.items():
                for _ in range(2):  # the second time a size comes, it is recorded
                    found = torch.stack([engine(query) for query in queries])
                close = closeness(found, expected)
                assert close["cosine_worst"] > 0.998, f"{name} computes something else: {close}"
                results.append({"tokens": length, "engine": name, **latency(engine, queries, repeats)})
    table(f"{shape}: one query, milliseconds", results)
    report(f"query-{shape}", options, results)


def latency(engine: Callable[[np.ndarray], Tensor], queries: list[np.ndarray], repeats: int) -> dict[str, float]:
    """Return quantiles over runs one at a time; the answer's way to the host ends each."""
    times = []
    for index in range(repeats):
        start = time.perf_counter()
        engine(queries[index % len(queries)])
        times.append((time.perf_counter() - start) * 1e3)
    return {"p50": float(np.quantile(times, 0.5)), "p99": float(np.quantile(times, 0.99))}


if __name__ == "__main__":
    main()
