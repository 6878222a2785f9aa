"""More epochs for a finished run: it goes on from its last step with weights and moments as they are.

Its learning rate, which has come to its end, warms up and falls once more over the new epochs; a constant one stays.
"""

from bertie.errors import InputError, spelled
from bertie.settings import Settings
from bertie.training.history import History
from bertie.training.optimizer import rate_factor
from bertie.training.sampler import Sampler


def lengthen(history: History, more: int | None, resume: bool, sampler: Sampler, folder: str) -> None:
    """Let a run go on for ``more`` epochs if it is finished, or as it was told before if that was interrupted."""
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
    history.total, history.more = sampler.steps_before(epoch + more) + place, more
    history.waited, history.stopped_early, history.asked_to_stop = 0, False, False


def share_of_rate(step: int, history: History, settings: Settings) -> float:
    """Return the share of the highest learning rate at which step ``step`` (from 0) is taken."""
    start = history.ends[-1] if history.ends else 0
    length = history.total - start
    is_flat = bool(history.ends) and settings.schedule == "constant"
    return rate_factor(step - start, length, 0 if is_flat else settings.warmup_steps(length), settings.schedule)
