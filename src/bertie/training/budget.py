"""A budget of time: how many steps fit in it, counted anew while the run goes on, so that it ends in time.

The rate follows the share of the run that is done, which grows evenly from one plan to the next. Plans stand in the
history: a run that is resumed has the same rates up to there, whatever the machine does now.
"""

from bertie.training.history import History

# The steps that a run has until some are timed.
UNKNOWN = 1000
# Seconds kept for the end of a run besides its measured part, and the same as a share of the budget.
RESERVE, RESERVED_SHARE = 2.0, 0.01
# A new plan is made when this share of the time left at the last one has passed.
INTERVAL = 0.1


def deadline(budget: float, overhead: float) -> float:
    """Return the second after which no step begins; a last evaluation, state and model take twice the ``overhead``."""
    return budget - max(min(RESERVE, 0.1 * budget), RESERVED_SHARE * budget) - 2 * overhead


def plan(budget: float, history: History, seconds: float) -> int:
    """Return how many steps fit in all, now that ``seconds`` of ``budget`` have passed; 0: the last plan holds."""
    step, end, (planned, _, _, before) = history.step, deadline(budget, history.overhead), history.plans[-1]
    if step in (planned, history.total):
        return 0
    if seconds >= end:
        return step
    # the first step of all is slower than the others
    timed = [each for each in history.plans if each[0] >= max(1, history.phases[-1])]
    if not timed:
        return max(step + 1, history.total)
    # at first when the time measured has doubled, so that no single step counts for long
    if seconds - before < min(before - timed[0][3], INTERVAL * (end - before)):
        return 0
    # the pace of the last half: batches grow, and what was slow at a start is over
    half = (timed[0][3] + seconds) / 2
    begun, _, _, then = next((each for each in timed if each[3] >= half), timed[-1])
    return step + int((end - seconds) * (step - begun) / max(seconds - then, 1e-9))


def note_plan(history: History, total: int, seconds: float) -> None:
    """Let the run have ``total`` steps from now on."""
    done = history.progress(history.step) if history.plans else 0.0
    history.plans.append([history.step, done, total, round(seconds, 3)])
    history.total = total
