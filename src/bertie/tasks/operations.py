"""The operations that a task needs on what a model computed, whether that is an array or a tensor on any device."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bertie.tasks.arrays import Array, Integers, log_softmax, softmax

if TYPE_CHECKING:
    from torch import Tensor

# what a model computed, where its engine or its device left it: one output, or several by their names
Computed: TypeAlias = "Array | Tensor | Mapping[str, Array | Tensor]"
# the sum of a batch's losses; only PyTorch learns
Loss: TypeAlias = "Tensor"


class Operations:
    """The operations on arrays; those on tensors, on their device, are `bertie.tasks.tensors.TensorOperations`.

    Letters: n rows, R runs of neighbouring rows, D numbers of a row, M masks, V words. Lengths, places and factors are
    the host's own, and no operation but `to_host`, `best`, `guessed` and `finite_rows` waits for a device.
    """

    def to_host(self, values: Any) -> Array:
        """Return values as a float32 array."""
        return np.asarray(values, np.float32)

    def widened(self, values: Any) -> Any:
        """Return values in float32; float64 stays."""
        return values if values.dtype == np.float64 else np.asarray(values, np.float32)

    def take(self, values: Any, places: Integers) -> Any:
        """Return the rows at these places."""
        return values[places]

    def scale(self, values: Any, factors: Array) -> Any:
        """Return ``values [n, D]``, each row multiplied by its own of ``factors [n]``."""
        return values * factors.astype(values.dtype)[:, None]

    def side_by_side(self, parts: Sequence[Any]) -> Any:
        """Return parts ``[n, D_i]`` as one ``[n, D_1 + D_2 + …]``."""
        return np.concatenate(parts, axis=1)

    def run_sum(self, values: Any, lengths: Integers) -> Any:
        """Return the sum of each run of rows ``[R, D]``, which have so many rows one after the other; 0 of none."""
        return _reduced(np.add, values, lengths)

    def run_mean(self, values: Any, lengths: Integers) -> Any:
        """As `run_sum`, the mean."""
        return self.run_sum(values, lengths) / np.maximum(lengths, 1).astype(values.dtype)[:, None]

    def run_max(self, values: Any, lengths: Integers) -> Any:
        """As `run_sum`, the maximum; 0 of none."""
        return _reduced(np.maximum, values, lengths)

    def normalize(self, vectors: Any) -> Any:
        """Return vectors ``[n, D]`` of length 1; a vector of zeros stays."""
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors / np.maximum(lengths, np.asarray(1e-12, vectors.dtype))

    def best(self, logits: Any, count: int, columns: Sequence[int] | None = None) -> tuple[Array, Integers]:
        """Return the probabilities of the ``count`` likeliest words of each row, and the words, both ``[M, count]``.

        Of ``columns``, the words to choose from if not from all, each is found by its place in that list.
        """
        scores = softmax(self.to_host(logits))
        if columns is not None:
            scores = scores[:, columns]
        found = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        order = np.lexsort((found, -np.take_along_axis(scores, found, axis=1)), axis=1)
        found = np.take_along_axis(found, order, axis=1)
        return np.take_along_axis(scores, found, axis=1), found

    def guessed(self, logits: Any, wanted: Integers) -> Array:
        """Return whether the likeliest word is the one wanted, and the cross-entropy of that: float64 ``[M, 2]``."""
        chances = log_softmax(self.to_host(logits))
        losses = -chances[np.arange(len(wanted)), wanted]
        return np.stack([chances.argmax(axis=1) == wanted, losses], axis=1).astype(np.float64)

    def total(self, values: Any) -> Any:
        """Return a sum that is finite only if all values are, where they lie."""
        with np.errstate(over="ignore", invalid="ignore"):
            return values.sum()

    def finite_rows(self, values: Any) -> Array:
        """Return which rows hold neither NaN nor infinity, bool ``[n]``."""
        return np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))


ON_ARRAYS = Operations()


def outputs_of(computed: Computed) -> "Iterable[Array | Tensor]":
    return computed.values() if isinstance(computed, Mapping) else [computed]


def operations_on(values: Computed) -> Operations:
    """Return what computes with such values."""
    if isinstance(values, np.ndarray):
        return ON_ARRAYS
    from bertie.tasks.tensors import ON_TENSORS

    return ON_TENSORS


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
