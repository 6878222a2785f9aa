"""Learning-rate schedules, as shares of the peak rate, and the extension of finished runs."""

import math

from bertie.errors import InputError, spelled
from bertie.settings import Settings
from bertie.training.history import History
from bertie.training.sampler import Sampler


def rate_factor(step: float, total: float, warmup: int, kind: str, cooldown: float = 0.0) -> float:
    """Return the share of the peak learning rate for step ``step`` (from 0) of ``total``.

    It rises to 1 within ``warmup`` steps, starting above 0. Then ``linear``, ``cosine`` and ``triangle`` fall towards
    0, ``constant`` stays at 1, and ``wsd`` (warm-up, stable, decay: Hu et al. 2024, "MiniCPM", section 4) stays at 1
    and falls linearly to 0 over the last ``cooldown`` (a share) of all steps.
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
    """Return the share of the peak learning rate for step ``step`` (from 0) of a run."""
    start = history.ends[-1] if history.ends else 0
    length = history.total - start
    is_flat = bool(history.ends) and settings.schedule == "constant"
    warmup = 0 if is_flat else settings.warmup_steps(length)
    position = history.progress(step) * length if history.plans else step - start
    return rate_factor(position, length, warmup, settings.schedule, settings.cooldown)


def lengthen(history: History, more: int | None, resume: bool, sampler: Sampler, folder: str) -> None:
    """Extend a finished run by ``more`` epochs, or let an interrupted extension continue.

    Weights and moments are kept. The learning rate, which has reached its end, warms up and falls again over the new
    epochs; a constant one stays.
    """
    if more is None and not history.more:
        return
    if more is None:
        longer = spelled("more_epochs", history.more)
        raise InputError(f"The run in {folder!r} was extended; to continue that, give {longer} too.")
    if not history.step:
        raise InputError(f"There is no finished run in {folder!r} to extend.")
    if resume and history.more == more:
        return
    if not history.is_over:
        again = f" with {spelled('more_epochs', history.more)}" if history.more else ""
        raise InputError(
            f"The run in {folder!r} is not finished, so it cannot be extended; let it finish first: "
            f"{spelled('resume', True)}{again}."
        )
    epoch, place = sampler.locate(history.step)
    history.ends.append(history.step)
    history.total, history.more = sampler.first_step + sampler.steps_before(epoch + more) + place, more
    history.waited, history.stopped_early, history.asked_to_stop = 0, False, False
