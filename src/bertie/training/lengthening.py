"""More epochs for a finished run: it goes on from its last step with weights and moments as they are.

Its learning rate, which has come to its end, warms up and falls once more over the new epochs; a constant one stays.
"""

from bertie.errors import InputError, spelled
from bertie.training.history import History
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
    history.total, history.more = sampler.begun + sampler.steps_before(epoch + more) + place, more
    history.waited, history.stopped_early, history.asked_to_stop = 0, False, False
