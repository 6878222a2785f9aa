"""The operations that tasks need on model outputs, whether arrays or tensors on any device."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bertie.tasks.arrays import Array, Integers, log_softmax, softmax

if TYPE_CHECKING:
    from torch import Tensor

# a model's outputs, on its own device: one, or several by name
Computed: TypeAlias = "Array | Tensor | Mapping[str, Array | Tensor]"
# the sum of a batch's losses; only PyTorch trains
Loss: TypeAlias = "Tensor"


class Operations:
    """The operations on arrays; for tensors, on their device, see `bertie.tasks.tensors.TensorOperations`.

    Letters: n rows, R segments of consecutive rows, D columns, M masked tokens, V vocabulary entries. Lengths, places
    and factors are on the host; only `to_host`, `top_k`, `correct_and_loss` and `finite_rows` wait for a device.
    """

    def to_host(self, values: Any) -> Array:
        """Return values as a float32 array."""
        return np.asarray(values, np.float32)

    def to_float32(self, values: Any) -> Any:
        """Return values in float32; float64 stays float64."""
        return values if values.dtype == np.float64 else np.asarray(values, np.float32)

    def take(self, values: Any, places: Integers) -> Any:
        """Return the rows at these indices."""
        return values[places]

    def scale(self, values: Any, factors: Array) -> Any:
        """Return ``values [n, D]``, each row multiplied by its factor in ``factors [n]``."""
        return values * factors.astype(values.dtype)[:, None]

    def concatenate(self, parts: Sequence[Any]) -> Any:
        """Return parts ``[n, D_i]`` as one ``[n, D_1 + D_2 + …]``."""
        return np.concatenate(parts, axis=1)

    def segment_sum(self, values: Any, lengths: Integers) -> Any:
        """Return the sums ``[R, D]`` of consecutive segments of ``lengths`` rows; 0 for an empty one."""
        return _segment_reduce(np.add, values, lengths)

    def segment_mean(self, values: Any, lengths: Integers) -> Any:
        """As `segment_sum`, the means."""
        return self.segment_sum(values, lengths) / np.maximum(lengths, 1).astype(values.dtype)[:, None]

    def segment_max(self, values: Any, lengths: Integers) -> Any:
        """As `segment_sum`, the maxima."""
        return _segment_reduce(np.maximum, values, lengths)

    def normalize(self, vectors: Any) -> Any:
        """Return vectors ``[n, D]`` scaled to length 1; zero vectors stay zero."""
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors / np.maximum(lengths, np.asarray(1e-12, vectors.dtype))

    def top_k(self, logits: Any, count: int, columns: Sequence[int] | None = None) -> tuple[Array, Integers]:
        """Return the ``count`` highest probabilities of each row, best first, and their columns, both ``[M, count]``.

        With ``columns``, only these compete, and are returned as indices into that list.
        """
        scores = softmax(self.to_host(logits))
        if columns is not None:
            scores = scores[:, columns]
        found = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        order = np.lexsort((found, -np.take_along_axis(scores, found, axis=1)), axis=1)
        found = np.take_along_axis(found, order, axis=1)
        return np.take_along_axis(scores, found, axis=1), found

    def correct_and_loss(self, logits: Any, targets: Integers) -> Array:
        """Return whether the likeliest token is the target, and the target's cross-entropy: float64 ``[M, 2]``."""
        log_probs = log_softmax(self.to_host(logits))
        losses = -log_probs[np.arange(len(targets)), targets]
        return np.stack([log_probs.argmax(axis=1) == targets, losses], axis=1).astype(np.float64)

    def total(self, values: Any) -> Any:
        """Return a sum that is finite only if all values are; it stays on their device."""
        with np.errstate(over="ignore", invalid="ignore"):
            return values.sum()

    def finite_rows(self, values: Any) -> Array:
        """Return which rows have neither NaN nor infinity, bool ``[n]``."""
        return np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))


ON_ARRAYS = Operations()


def outputs_of(computed: Computed) -> "Iterable[Array | Tensor]":
    return computed.values() if isinstance(computed, Mapping) else [computed]


def operations_on(values: Computed) -> Operations:
    """Return the operations for such values."""
    if isinstance(values, np.ndarray):
        return ON_ARRAYS
    from bertie.tasks.tensors import ON_TENSORS

    return ON_TENSORS


def _segment_reduce(reduction: np.ufunc, values: Array, lengths: Integers) -> Array:
    found = np.zeros((len(lengths), *values.shape[1:]), values.dtype)
    stop = 0
    for row, length in zip(found, lengths.tolist(), strict=True):
        # ten times as fast as ``reduceat``, and a segment's result depends on its own rows only
        start, stop = stop, stop + length
        if length:
            reduction.reduce(values[start:stop], axis=0, out=row)
    return found
