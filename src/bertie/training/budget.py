"""A time budget: how many steps fit into it, re-estimated during the run.

The learning rate follows the share of the run that is done, which grows linearly from one plan to the next. Plans are
kept in the history, so that a resumed run has the same rates up to there, however fast the machine is now.
"""

from bertie.training.history import History

# The assumed number of steps until some are timed.
UNKNOWN = 1000
# A reserve for the end of a run beyond what is measured, in seconds and as a share of the budget.
RESERVE, RESERVED_SHARE = 5.0, 0.01
# A new plan is made when this share of the time that was left at the last one has passed.
INTERVAL = 0.1
# The number of evaluations, evenly spaced, and the largest share of the budget that they may take.
EVALUATIONS, EVALUATION_SHARE = 10, 0.05


def evaluation_is_due(budget: float, history: History) -> bool:
    """Whether the next tenth of the run has begun, and there is time for another evaluation."""
    before, now = (int(EVALUATIONS * history.progress(step)) for step in (history.evaluated, history.step))
    return before < now and history.evaluating + history.overhead <= EVALUATION_SHARE * budget


def deadline(budget: float, history: History) -> float:
    """Return the seconds of ``budget`` that are left for steps, without evaluations and the end of the run."""
    # the end (an evaluation, a state, the model) is taken as twice the last evaluation and state, not the longest:
    # that may have been on a machine that was busy for a while
    reserve = max(min(RESERVE, 0.1 * budget), RESERVED_SHARE * budget) + 2 * history.overhead
    to_come = EVALUATIONS * (1 - history.progress(history.step)) * history.overhead
    evaluations = max(history.evaluating, min(EVALUATION_SHARE * budget, history.evaluating + to_come))
    return budget - reserve - evaluations


def plan(budget: float, history: History, seconds: float) -> int:
    """Return the total number of steps that fit, now that ``seconds`` have passed; 0: keep the last plan."""
    step, end, (planned, _, _, before) = history.step, deadline(budget, history), history.plans[-1]
    if step in (planned, history.total):
        return 0
    seconds -= history.evaluating
    if seconds >= end:
        return step
    # the very first step is slower than the others
    timed = [each for each in history.plans if each[0] >= max(1, history.phases[-1])]
    if not timed:
        return max(step + 1, history.total)
    # early on, whenever the measured time has doubled, so that no single step dominates for long
    if seconds - before < min(before - timed[0][3], INTERVAL * (end - before)):
        return 0
    # by the pace of the last half: batches may have grown, and start-up costs are over
    half = (timed[0][3] + seconds) / 2
    begun, _, _, then = next((each for each in timed if each[3] >= half), timed[-1])
    return step + int((end - seconds) * (step - begun) / max(seconds - then, 1e-9))


def record_plan(history: History, total: int, seconds: float) -> None:
    """Record a plan, made after ``seconds``, that the run has ``total`` steps."""
    done = history.progress(history.step) if history.plans else 0.0
    history.plans.append([history.step, done, total, round(seconds - history.evaluating, 3)])
    history.total = total
