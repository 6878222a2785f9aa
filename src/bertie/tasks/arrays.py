"""NumPy versions of what tasks compute: softmax and its kin by stable formulas."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Integers: TypeAlias = NDArray[np.int64]
# stands where an input has fewer choices than others: finite, and yet without weight at any temperature
NEVER = -1e30


def softmax(logits: Array, axis: int = -1) -> Array:
    """Return the probabilities of logits: of equal shape, with the sum 1 along ``axis``."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def log_softmax(logits: Array, axis: int = -1) -> Array:
    return logits - np.expand_dims(log_sum_exp(logits, axis), axis)


def log_sum_exp(scores: Array, axis: int = -1) -> Array:
    """Return the logarithm of the sum of exponentials along ``axis``."""
    highest = scores.max(axis=axis, keepdims=True)
    return np.squeeze(highest, axis) + np.log(np.exp(scores - highest).sum(axis=axis))


def ranges(firsts: Integers, sizes: Integers) -> Integers:
    """Return the numbers of several ranges, which begin at ``firsts``, one range after the other."""
    begins = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(firsts - begins, sizes)
