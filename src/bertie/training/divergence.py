"""Steps to be left out of a run: a loss or gradients that are NaN or infinite, and spikes far above the others.

After a spike a run goes back to the state that it saved last.
"""

import math
import statistics
from collections.abc import Sequence

import torch

from bertie.training.data_parallel import DataParallel
from bertie.training.learner import Learner
from bertie.training.sampler import Integers

# More examples than this are not looked at one by one.
MOST_SEARCHED = 256
# Losses that a step is compared with, and the fewest that say anything.
WINDOW, FEWEST = 100, 20
# Of normally distributed numbers, the standard deviation is so many times their median distance from the median.
DEVIATIONS = 1.4826
# The least spread of logarithms that is assumed: a loss that hardly moves has no spikes of a few per cent.
LEAST_SPREAD = 0.02
# A run that goes back more often than this is not getting better by it.
MOST_REWINDS = 10


def describe_bad_step(
    parallel: DataParallel,
    learner: Learner,
    examples: Integers,
    step: int,
    epoch: float,
    rate: float,
    loss: float,
    norm: float,
) -> str:
    """Return the sentences for a step (from 1) that could not be taken; all processes ask for them together."""
    what = f"the loss is {loss:g}" if not math.isfinite(loss) else f"the norm of the gradients is {norm:g}"
    found = bad_examples(parallel, learner, examples) if not math.isfinite(loss) else []
    where = "the example that alone gives such a loss" if len(found) == 1 else "examples that alone give such a loss"
    if not found:
        found, where = [int(each) for each in examples], "its examples"
    return (
        f"In step {step} (epoch {epoch:.2f}, learning rate {rate:.3g}) {what}; {where}: {learner.describe(found)}. "
        "The step was left out, and the weights before it are kept."
    )


ADVICE = (
    "Look at these examples and their labels, lower the learning rate or lengthen the warm-up, or let such steps be "
    "left out with skip_bad_steps."
)


def bad_examples(parallel: DataParallel, learner: Learner, examples: Integers) -> list[int]:
    """Return those examples whose loss alone, without dropout, is not finite; none if they are too many to look at."""
    if len(examples) > MOST_SEARCHED:
        return []
    learner.model.eval()
    try:
        with torch.no_grad():
            return [int(each) for each in examples if not bool(parallel.loss([int(each)]).isfinite().all())]
    finally:
        learner.model.train()


def is_spike(before: Sequence[float], loss: float, threshold: float) -> bool:
    """Whether the logarithm of ``loss`` lies more than ``threshold`` standard deviations above those ``before``."""
    if len(before) < FEWEST or loss <= 0 or min(before) <= 0:
        return False
    # medians are not moved by a few outliers
    known = [math.log(each) for each in before]
    middle = statistics.median(known)
    spread = DEVIATIONS * statistics.median(abs(each - middle) for each in known)
    return math.log(loss) - middle > threshold * max(spread, LEAST_SPREAD)


def describe_spike(step: int, loss: float, before: Sequence[float], back: int | None, examples: str) -> str:
    """Return the sentences on a spike in ``step``, after which the weights are those after step ``back``, or None."""
    what = f"In step {step} the loss rose to {loss:.4g} from {statistics.median(before):.4g} ({examples})"
    if back is None:
        return f"{what}; no state is saved to go back to, so the run goes on with it."
    left = f"step {step} is" if back + 1 == step else f"steps {back + 1} to {step} are"
    return f"{what}; the weights are again those after step {back}, and what was learned in {left} left out."
