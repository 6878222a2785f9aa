"""Bad steps of a run: a loss or gradients that are NaN or infinite, which are skipped, and loss spikes.

After a spike, the run goes back to its last saved state.
"""

import math
import statistics
from collections.abc import Sequence

import torch

from bertie.training.data_parallel import DataParallel
from bertie.training.learner import Learner
from bertie.training.sampler import Integers

# Larger steps are not searched for single bad examples.
MAX_SEARCHED = 256
# Losses that a step is compared with, and the fewest that allow a comparison.
WINDOW, MIN_LOSSES = 100, 20
# The ratio of standard deviation and median absolute deviation of a normal distribution.
DEVIATIONS = 1.4826
# A lower bound on the spread of log losses, so that fluctuations of a few per cent are never spikes.
MIN_SPREAD = 0.02
# A run that goes back more often than this does not recover by it.
MAX_REWINDS = 10


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
    """Return the message for a step (from 1) that was skipped; all processes must call this together."""
    what = f"the loss is {loss:g}" if not math.isfinite(loss) else f"the norm of the gradients is {norm:g}"
    found = bad_examples(parallel, learner, examples) if not math.isfinite(loss) else []
    where = "the example that causes it by itself" if len(found) == 1 else "examples that cause it by themselves"
    if not found:
        found, where = [int(each) for each in examples], "its examples"
    return (
        f"In step {step} (epoch {epoch:.2f}, learning rate {rate:.3g}) {what}; {where}: {learner.describe(found)}. "
        "The step was skipped, and the weights before it are kept."
    )


ADVICE = (
    "Check these examples and their labels, lower the learning rate or lengthen the warm-up, or let such steps be "
    "skipped with skip_bad_steps."
)


def bad_examples(parallel: DataParallel, learner: Learner, examples: Integers) -> list[int]:
    """Return the examples whose own loss, without dropout, is not finite; none if there are too many to search."""
    if len(examples) > MAX_SEARCHED:
        return []
    learner.model.eval()
    try:
        with torch.no_grad():
            return [int(each) for each in examples if not bool(parallel.loss([int(each)]).isfinite().all())]
    finally:
        learner.model.train()


def is_spike(before: Sequence[float], loss: float, threshold: float) -> bool:
    """Whether the logarithm of ``loss`` lies more than ``threshold`` standard deviations above those ``before``."""
    if len(before) < MIN_LOSSES or loss <= 0 or min(before) <= 0:
        return False
    # medians are robust to a few outliers
    logs = [math.log(each) for each in before]
    median = statistics.median(logs)
    spread = DEVIATIONS * statistics.median(abs(each - median) for each in logs)
    return math.log(loss) - median > threshold * max(spread, MIN_SPREAD)


def describe_spike(step: int, loss: float, before: Sequence[float], back: int | None, examples: str) -> str:
    """Return the message for a spike in ``step``, after which the run went back to ``back``, or nowhere (None)."""
    what = f"In step {step} the loss rose to {loss:.4g} from {statistics.median(before):.4g} ({examples})"
    if back is None:
        return f"{what}; there is no saved state to go back to, so the run continues."
    undone = f"step {step} is" if back + 1 == step else f"steps {back + 1} to {step} are"
    return f"{what}; the weights are again those after step {back}, and {undone} undone."
