"""The functions that loops and processors call: on the engine's arrays; `tensor_functions` has PyTorch's.

What NumPy and PyTorch write alike (indices, comparisons, sums) stands in the loops themselves.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.memory import available_memory

# an array of NumPy or a tensor of PyTorch
Values: TypeAlias = Any
Array: TypeAlias = NDArray[Any]


class Functions:
    """The functions of arrays. Letters: B texts, V words, S ids; all work along the last axis."""

    where: Any = staticmethod(np.where)
    isnan: Any = staticmethod(np.isnan)
    isfinite: Any = staticmethod(np.isfinite)
    nan_to_num: Any = staticmethod(np.nan_to_num)  # 0 for NaN, and the largest numbers for infinities
    exp: Any = staticmethod(np.exp)
    copy: Any = staticmethod(np.copy)

    def ids(self, like: Values, tokens: Any) -> Values:  # noqa: ARG002  arrays lie in one place
        """Return token ids as integers beside ``like``."""
        return np.asarray(tokens, np.int64)

    def full(self, like: Values, shape: tuple[int, ...], value: float) -> Values:
        """Return a value repeated, in the type of ``like`` and beside it."""
        return np.full(shape, value, like.dtype)

    def float32(self, scores: Values) -> Values:
        return np.asarray(scores, np.float32)

    def repeat(self, values: Values, count: int) -> Values:
        """Return each row so many times, one copy beside the other."""
        return np.repeat(values, count, axis=0)

    def concat(self, parts: list[Values]) -> Values:
        """Return parts ``[B, S_i]`` side by side."""
        return np.concatenate(parts, axis=1)

    def is_in(self, values: Values, tokens: tuple[int, ...]) -> Values:
        """Return which of the values ``[B]`` are among these tokens."""
        return (values[:, None] == np.asarray(tokens, np.int64)).any(axis=1)

    def best(self, scores: Values) -> tuple[Values, Values]:
        """Return the largest score of each row and its place, of NaN if there is one."""
        places = scores.argmax(axis=-1)
        return np.take_along_axis(scores, places[:, None], axis=-1)[:, 0], places

    def topk(self, scores: Values, count: int) -> tuple[Values, Values]:
        """Return the largest scores of each row, in falling order, and their places."""
        places = np.argpartition(-scores, count - 1, axis=-1)[..., :count]
        values = np.take_along_axis(scores, places, axis=-1)
        order = np.argsort(-values, axis=-1, kind="stable")
        return np.take_along_axis(values, order, axis=-1), np.take_along_axis(places, order, axis=-1)

    def sort(self, scores: Values) -> tuple[Values, Values]:
        """Return the scores of each row in rising order, and their places."""
        order = np.argsort(scores, axis=-1, kind="stable")
        return np.take_along_axis(scores, order, axis=-1), order

    def take(self, values: Values, places: Values) -> Values:
        """Return what stands at ``places`` of each row."""
        return np.take_along_axis(values, places, axis=-1)

    def put(self, values: Values, places: Values, new: Any) -> Values:
        """Return values with others at ``places`` of each row."""
        values = values.copy()
        np.put_along_axis(values, places, new, axis=-1)
        return values

    def softmax(self, scores: Values) -> Values:
        """Return probabilities; NaN where no score is above minus infinity."""
        with np.errstate(invalid="ignore"):
            powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def log_softmax(self, scores: Values) -> Values:
        with np.errstate(invalid="ignore", divide="ignore"):
            shifted = scores - scores.max(axis=-1, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

    def entropy(self, logs: Values) -> Values:
        """Return the entropy of each row of log-probabilities, ``[B, 1]``."""
        with np.errstate(invalid="ignore"):
            return -np.nansum(logs * np.exp(logs), axis=-1, keepdims=True)

    def ngrams(self, ids: Values, size: int) -> Values:
        """Return all runs of so many ids, ``[B, number, size]``."""
        return np.lib.stride_tricks.sliding_window_view(ids, size, axis=1)

    def draw(self, probabilities: Values, count: int, generator: Any) -> Values:
        """Return ``count`` different places of each row, drawn by their probabilities, ``[B, count]``.

        The smallest of exponential variables of these rates comes first with just these probabilities.
        """
        waits = generator.standard_exponential(probabilities.shape, np.float32)
        return self.topk(probabilities / np.maximum(waits, np.finfo(np.float32).tiny), count)[1]

    def bools(self, like: Values, answers: Any) -> Values:  # noqa: ARG002
        """Return what a stopping criterion answered, beside ``like``."""
        return np.asarray(answers)

    def available_memory(self, like: Values) -> int | None:  # noqa: ARG002
        """Return how many bytes are left where ``like`` lies, or None where nobody knows."""
        return available_memory()

    def shown(self, values: Values) -> Array:
        """Return values on the host, for a streamer."""
        return values


ON_ARRAYS = Functions()


def functions_of(values: Values) -> Functions:
    if isinstance(values, np.ndarray):
        return ON_ARRAYS
    from bertie.generation.tensor_functions import ON_TENSORS

    return ON_TENSORS
