"""The schedules of the learning rate, as shares of its highest value."""

import math

from bertie.settings import Settings
from bertie.training.history import History


def rate_factor(step: float, total: float, warmup: int, kind: str, cooldown: float = 0.0) -> float:
    """Return the share of the highest learning rate at which step ``step`` (from 0) of ``total`` is taken.

    Warm-up rises to 1 within ``warmup`` steps, and no step is taken at rate 0. Then ``linear``, ``cosine`` and
    ``triangle`` fall towards 0, ``constant`` stays, and ``wsd`` (warm-up, stable, decay: Hu et al. 2024, "MiniCPM",
    section 4) stays until the share ``cooldown`` of all steps is left, over which it falls to 0 in a line.
    """
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    if kind == "wsd":
        return min(1.0, (total - step) / max(1.0, cooldown * total))
    done = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * done)) if kind == "cosine" else 1.0 - done


def share_of_rate(step: int, history: History, settings: Settings) -> float:
    """Return the share of the highest learning rate at which step ``step`` (from 0) of a run is taken."""
    start = history.ends[-1] if history.ends else 0
    length = history.total - start
    is_flat = bool(history.ends) and settings.schedule == "constant"
    warmup = 0 if is_flat else settings.warmup_steps(length)
    place = history.progress(step) * length if history.plans else step - start
    return rate_factor(place, length, warmup, settings.schedule, settings.cooldown)
