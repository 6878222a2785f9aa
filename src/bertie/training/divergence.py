"""Loss or gradients that are NaN or infinite: which examples they come from, and what to do about it."""

import math

import torch

from bertie.training.data_parallel import DataParallel
from bertie.training.learner import Learner
from bertie.training.sampler import Integers

# More examples than this are not looked at one by one.
MOST_LOOKED_AT = 256


def explain(
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
    found = culprits(parallel, learner, examples) if not math.isfinite(loss) else []
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


def culprits(parallel: DataParallel, learner: Learner, examples: Integers) -> list[int]:
    """Return those examples whose loss alone, without dropout, is not finite; none if they are too many to look at."""
    if len(examples) > MOST_LOOKED_AT:
        return []
    learner.model.eval()
    try:
        with torch.no_grad():
            return [int(each) for each in examples if not bool(parallel.loss([int(each)]).isfinite().all())]
    finally:
        learner.model.train()
