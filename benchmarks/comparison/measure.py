"""What a worker times: its way to the first answer, a pass over all texts, or each text alone."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from comparison.workload import Workload

# steps on one batch whose losses are compared: forward pass, gradients and optimiser all show in the last
STEPS = 3


def start(load: Callable[[], Any], workload: Workload) -> float:
    """Return the seconds from before the engine's first import until its first answer."""
    begin = time.perf_counter()
    load()(list(workload.texts[:1]))
    return time.perf_counter() - begin


def one_round(run: Callable[[Sequence[str]], Any], workload: Workload) -> list[float]:
    """Return the seconds of one round: one number for a pass over all texts, or one for each text (latency)."""
    parts = [[text] for text in workload.texts] if workload.measure == "latency" else [list(workload.texts)]
    seconds = []
    for part in parts:
        begin = time.perf_counter()
        run(part)
        seconds.append(time.perf_counter() - begin)
    return seconds


def answers(run: Callable[[Sequence[str]], Any], workload: Workload) -> Any:
    """Return what is compared between engines, as one array: answers, losses, or all ids with their numbers."""
    import numpy as np

    texts = list(workload.texts)
    if workload.measure == "start":
        return np.asarray(run(texts[:1]))
    if workload.task == "train":
        losses = [run(texts[: workload.batch_size])[0] for _ in range(STEPS)]
        return np.array([losses])
    found = run(texts)
    if workload.task == "tokenize":
        return np.array([len(row) for row in found] + [one for row in found for one in row])
    return np.asarray(found)
