"""Spikes of the loss: steps far above those before, after which a run goes back to the state that it saved last."""

import math
import statistics
from collections.abc import Sequence

# Losses that a step is compared with, and the fewest that say anything.
WINDOW, FEWEST = 100, 20
# Of normally distributed numbers, the standard deviation is so many times their median distance from the median.
DEVIATIONS = 1.4826
# The least spread of logarithms that is assumed: a loss that hardly moves has no spikes of a few per cent.
LEAST_SPREAD = 0.02
# A run that goes back more often than this is not getting better by it.
MOST_REWINDS = 10


def is_spike(before: Sequence[float], loss: float, threshold: float) -> bool:
    """Whether the logarithm of ``loss`` lies more than ``threshold`` standard deviations above those ``before``."""
    if len(before) < FEWEST or loss <= 0 or min(before) <= 0:
        return False
    # medians are not moved by a few outliers
    known = [math.log(each) for each in before]
    middle = statistics.median(known)
    spread = DEVIATIONS * statistics.median(abs(each - middle) for each in known)
    return math.log(loss) - middle > threshold * max(spread, LEAST_SPREAD)


def say(step: int, loss: float, before: Sequence[float], back: int | None, examples: str) -> str:
    """Return the sentences on a spike in ``step``, after which the weights are those after step ``back``, or None."""
    what = f"In step {step} the loss rose to {loss:.4g} from {statistics.median(before):.4g} ({examples})"
    if back is None:
        return f"{what}; no state is saved to go back to, so the run goes on with it."
    left = f"step {step} is" if back + 1 == step else f"steps {back + 1} to {step} are"
    return f"{what}; the weights are again those after step {back}, and what was learned in {left} left out."
