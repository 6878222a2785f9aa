"""NumPy versions of what tasks compute: softmax and its kin by stable formulas, and sums over runs of rows.

The functions down to `all_finite` are the `bertie.tasks.operations.Operations` of arrays.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Integers: TypeAlias = NDArray[np.int64]
# stands where an input has fewer choices than others: finite, and yet without weight at any temperature
NEVER = -1e30


def to_host(values: Array) -> Array:
    return np.asarray(values, np.float32)


def widened(values: Array) -> Array:
    return values if values.dtype == np.float64 else np.asarray(values, np.float32)


def take(values: Array, places: Integers) -> Array:
    return values[places]


def scale(values: Array, factors: Array) -> Array:
    return values * factors.astype(values.dtype)[:, None]


def side_by_side(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts, axis=1)


def run_sum(values: Array, lengths: Integers) -> Array:
    return _reduced(np.add, values, lengths)


def run_mean(values: Array, lengths: Integers) -> Array:
    return run_sum(values, lengths) / np.maximum(lengths, 1).astype(values.dtype)[:, None]


def run_max(values: Array, lengths: Integers) -> Array:
    return _reduced(np.maximum, values, lengths)


def normalize(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, np.asarray(1e-12, vectors.dtype))


def best(logits: Array, count: int, columns: Sequence[int] | None = None) -> tuple[Array, Integers]:
    scores = softmax(to_host(logits))
    if columns is not None:
        scores = scores[:, columns]
    found = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.lexsort((found, -np.take_along_axis(scores, found, axis=1)), axis=1)
    found = np.take_along_axis(found, order, axis=1)
    return np.take_along_axis(scores, found, axis=1), found


def guessed(logits: Array, wanted: Integers) -> Array:
    chances = log_softmax(to_host(logits))
    losses = -chances[np.arange(len(wanted)), wanted]
    return np.stack([chances.argmax(axis=1) == wanted, losses], axis=1).astype(np.float64)


def total(values: Array) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.sum()


def finite_rows(values: Array) -> Array:
    return np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))


def softmax(logits: Array, axis: int = -1) -> Array:
    """Return the probabilities of logits: of equal shape, with the sum 1 along ``axis``."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def log_softmax(logits: Array, axis: int = -1) -> Array:
    """Return the logarithms of `softmax`."""
    return logits - np.expand_dims(log_sum_exp(logits, axis), axis)


def log_sum_exp(scores: Array, axis: int = -1) -> Array:
    """Return the logarithm of the sum of exponentials along ``axis``."""
    highest = scores.max(axis=axis, keepdims=True)
    return np.squeeze(highest, axis) + np.log(np.exp(scores - highest).sum(axis=axis))


def ranges(firsts: Integers, sizes: Integers) -> Integers:
    """Return the numbers of several ranges, which begin at ``firsts``, one range after the other."""
    begins = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(firsts - begins, sizes)


def _reduced(add: np.ufunc, values: Array, lengths: Integers) -> Array:
    """Return one row a run of neighbouring rows, zeros for a run without any."""
    found = np.zeros((len(lengths), *values.shape[1:]), values.dtype)
    stop = 0
    for row, length in zip(found, lengths.tolist(), strict=True):
        # ten times as fast as ``reduceat``, and a run's sum depends on its own rows alone
        start, stop = stop, stop + length
        if length:
            add.reduce(values[start:stop], axis=0, out=row)
    return found
