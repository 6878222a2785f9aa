"""Array functions that tasks share: a numerically stable softmax and its kin."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Integers: TypeAlias = NDArray[np.int64]
# the logit that pads inputs with fewer choices than others: finite, but of probability 0 at any temperature
PADDING_LOGIT = -1e30


def softmax(logits: Array, axis: int = -1) -> Array:
    """Return the probabilities of logits, of the same shape, which sum to 1 along ``axis``."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def log_softmax(logits: Array, axis: int = -1) -> Array:
    return logits - np.expand_dims(log_sum_exp(logits, axis), axis)


def log_sum_exp(scores: Array, axis: int = -1) -> Array:
    """Return the logarithm of the sum of exponentials along ``axis``."""
    highest = scores.max(axis=axis, keepdims=True)
    return np.squeeze(highest, axis) + np.log(np.exp(scores - highest).sum(axis=axis))


def ranges(firsts: Integers, sizes: Integers) -> Integers:
    """Return the numbers of ranges that begin at ``firsts`` and have ``sizes``, concatenated."""
    begins = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(firsts - begins, sizes)
