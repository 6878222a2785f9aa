"""The array functions of search loops and logits processors, for NumPy; `tensor_functions` has those for PyTorch.

Operations that NumPy and PyTorch spell alike (indexing, comparisons, sums) are used directly.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.memory import available_memory

# a NumPy array or a PyTorch tensor
Values: TypeAlias = Any
Array: TypeAlias = NDArray[Any]


class Functions:
    """Functions on NumPy arrays, along the last axis. Letters: B texts, V vocabulary, S ids."""

    where: Any = staticmethod(np.where)
    isnan: Any = staticmethod(np.isnan)
    isfinite: Any = staticmethod(np.isfinite)
    nan_to_num: Any = staticmethod(np.nan_to_num)  # NaN becomes 0, and infinities the largest finite values
    exp: Any = staticmethod(np.exp)
    copy: Any = staticmethod(np.copy)

    def ids(self, like: Values, tokens: Any) -> Values:  # noqa: ARG002  arrays have no device
        """Return token ids as int64 on the device of ``like``."""
        return np.asarray(tokens, np.int64)

    def full(self, like: Values, shape: tuple[int, ...], value: float) -> Values:
        """Return a constant array with the dtype and device of ``like``."""
        return np.full(shape, value, like.dtype)

    def float32(self, scores: Values) -> Values:
        return np.asarray(scores, np.float32)

    def repeat(self, values: Values, count: int) -> Values:
        """Repeat each row ``count`` times."""
        return np.repeat(values, count, axis=0)

    def concat(self, parts: list[Values]) -> Values:
        """Concatenate parts ``[B, S_i]``."""
        return np.concatenate(parts, axis=1)

    def is_in(self, values: Values, tokens: tuple[int, ...]) -> Values:
        """Return which of the values ``[B]`` are among ``tokens``."""
        return (values[:, None] == np.asarray(tokens, np.int64)).any(axis=1)

    def max(self, scores: Values) -> tuple[Values, Values]:
        """Return the largest score of each row and its index; NaN counts as the largest."""
        indices = scores.argmax(axis=-1)
        return np.take_along_axis(scores, indices[:, None], axis=-1)[:, 0], indices

    def topk(self, scores: Values, count: int) -> tuple[Values, Values]:
        """Return the largest scores of each row in descending order, and their indices."""
        indices = np.argpartition(-scores, count - 1, axis=-1)[..., :count]
        values = np.take_along_axis(scores, indices, axis=-1)
        order = np.argsort(-values, axis=-1, kind="stable")
        return np.take_along_axis(values, order, axis=-1), np.take_along_axis(indices, order, axis=-1)

    def sort(self, scores: Values) -> tuple[Values, Values]:
        """Return the scores of each row in ascending order, and their indices."""
        order = np.argsort(scores, axis=-1, kind="stable")
        return np.take_along_axis(scores, order, axis=-1), order

    def take(self, values: Values, indices: Values) -> Values:
        """Return the values at ``indices`` of each row."""
        return np.take_along_axis(values, indices, axis=-1)

    def put(self, values: Values, indices: Values, new: Any) -> Values:
        """Return a copy with ``new`` at ``indices`` of each row."""
        values = values.copy()
        np.put_along_axis(values, indices, new, axis=-1)
        return values

    def softmax(self, scores: Values) -> Values:
        """Return probabilities; a row of minus infinities gives NaN."""
        with np.errstate(invalid="ignore"):
            exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    def log_softmax(self, scores: Values) -> Values:
        with np.errstate(invalid="ignore", divide="ignore"):
            shifted = scores - scores.max(axis=-1, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

    def entropy(self, logs: Values) -> Values:
        """Return the entropy of each row of log-probabilities, ``[B, 1]``."""
        with np.errstate(invalid="ignore"):
            return -np.nansum(logs * np.exp(logs), axis=-1, keepdims=True)

    def ngrams(self, ids: Values, size: int) -> Values:
        """Return all n-grams of ``size`` ids, ``[B, number, size]``."""
        return np.lib.stride_tricks.sliding_window_view(ids, size, axis=1)

    def draw(self, probabilities: Values, count: int, generator: Any) -> Values:
        """Return ``count`` distinct indices per row, sampled by their probabilities, ``[B, count]``.

        Of exponential variables with these rates, each is the smallest with just its probability.
        """
        waits = generator.standard_exponential(probabilities.shape, np.float32)
        return self.topk(probabilities / np.maximum(waits, np.finfo(np.float32).tiny), count)[1]

    def as_bools(self, like: Values, answers: Any) -> Values:  # noqa: ARG002
        """Return the result of a stopping criterion on the device of ``like``."""
        return np.asarray(answers)

    def available_memory(self, like: Values) -> int | None:  # noqa: ARG002
        """Return the bytes available on the device of ``like``, or None if unknown."""
        return available_memory()

    def to_host(self, values: Values) -> Array:
        """Return values on the CPU, for a streamer."""
        return values


ON_ARRAYS = Functions()


def functions_of(values: Values) -> Functions:
    if isinstance(values, np.ndarray):
        return ON_ARRAYS
    from bertie.generation.tensor_functions import ON_TENSORS

    return ON_TENSORS
