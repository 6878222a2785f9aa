"""A budget of time: how many steps fit in it, counted anew while the run goes on, so that it ends in time.

The rate follows the share of the run that is done, which grows evenly from one plan to the next. Plans stand in the
history: a run that is resumed has the same rates up to there, whatever the machine does now.
"""

from bertie.training.history import History

# The steps that a run has until some are timed.
UNKNOWN = 1000
# Seconds kept for the end of a run besides its measured part, and the same as a share of the budget.
RESERVE, RESERVED_SHARE = 5.0, 0.01
# A new plan is made when this share of the time left at the last one has passed.
INTERVAL = 0.1
# Evaluations at equal distances, and the most of the budget that they may take.
EVALUATIONS, EVALUATION_SHARE = 10, 0.05


def evaluation_is_due(budget: float, history: History) -> bool:
    """Whether the next tenth of the run has begun, and there is time for another evaluation."""
    before, now = (int(EVALUATIONS * history.progress(step)) for step in (history.evaluated, history.step))
    return before < now and history.evaluating + history.overhead <= EVALUATION_SHARE * budget


def deadline(budget: float, history: History) -> float:
    """Return how many seconds of steps fit into ``budget``, beside evaluations and what comes after the last step."""
    # a last evaluation, a state and the model take twice the last evaluation and state: the longest ones may be of a
    # machine that was busy for a while
    reserve = max(min(RESERVE, 0.1 * budget), RESERVED_SHARE * budget) + 2 * history.overhead
    to_come = EVALUATIONS * (1 - history.progress(history.step)) * history.overhead
    evaluations = max(history.evaluating, min(EVALUATION_SHARE * budget, history.evaluating + to_come))
    return budget - reserve - evaluations


def plan(budget: float, history: History, seconds: float) -> int:
    """Return how many steps fit in all, now that ``seconds`` have passed; 0: the last plan holds."""
    step, end, (planned, _, _, before) = history.step, deadline(budget, history), history.plans[-1]
    if step in (planned, history.total):
        return 0
    seconds -= history.evaluating
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


def record_plan(history: History, total: int, seconds: float) -> None:
    """Record that the run has ``total`` steps from now on, as planned after ``seconds``."""
    done = history.progress(history.step) if history.plans else 0.0
    history.plans.append([history.step, done, total, round(seconds - history.evaluating, 3)])
    history.total = total
