"""The learning rate as a pure function of the step."""

import math


def factor(step: int, total: int, warmup: int, kind: str) -> float:
    """Return the share of the highest learning rate at which step ``step`` (from 0) of ``total`` is taken.

    Warm-up rises to 1 within ``warmup`` steps, and no step is taken at rate 0; then ``linear`` and ``cosine`` fall
    towards 0, ``constant`` stays.
    """
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    return 1.0 - done if kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
