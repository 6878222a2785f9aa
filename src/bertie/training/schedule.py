"""The schedules of the learning rate, as shares of its highest value, and more epochs for a finished run."""

import math

from bertie.errors import InputError, spelled
from bertie.settings import Settings
from bertie.training.history import History
from bertie.training.sampler import Sampler


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


def lengthen(history: History, more: int | None, resume: bool, sampler: Sampler, folder: str) -> None:
    """Let a run go on for ``more`` epochs if it is finished, or as it was told before if that was interrupted.

    It goes on from its last step with weights and moments as they are. Its learning rate, which has come to its end,
    warms up and falls once more over the new epochs; a constant one stays.
    """
    if more is None and not history.more:
        return
    if more is None:
        longer = spelled("more_epochs", history.more)
        raise InputError(f"The run in {folder!r} was made longer; to go on with that, give {longer} too.")
    if not history.step:
        raise InputError(f"There is no finished run in {folder!r} that could be made longer.")
    if resume and history.more == more:
        return
    if not history.is_over:
        again = f" with {spelled('more_epochs', history.more)}" if history.more else ""
        raise InputError(
            f"The run in {folder!r} is not finished, so it cannot be made longer; let it end first: "
            f"{spelled('resume', True)}{again}."
        )
    epoch, place = sampler.locate(history.step)
    history.ends.append(history.step)
    history.total, history.more = sampler.begun + sampler.steps_before(epoch + more) + place, more
    history.waited, history.stopped_early, history.asked_to_stop = 0, False, False
