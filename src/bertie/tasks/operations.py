"""The operations that a task needs on what a model computed, whether that is an array or a tensor on any device."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from bertie.tasks import arrays
from bertie.tasks.arrays import Array, Integers

if TYPE_CHECKING:
    from torch import Tensor

# what a model computed, where its engine or its device left it: one output, or several by their names
Computed: TypeAlias = "Array | Tensor | Mapping[str, Array | Tensor]"


class Operations(Protocol):
    """What `bertie.tasks.arrays` does with arrays and `bertie.tasks.tensors` with tensors, on their device.

    Letters: n rows, R runs of neighbouring rows, D numbers of a row, M masks, V words. Lengths, places and factors are
    the host's own, and no operation but `to_host`, `best`, `guessed` and `finite_rows` waits for a device.
    """

    def to_host(self, values: Any) -> Array:
        """Return values as a float32 array."""

    def widened(self, values: Any) -> Any:
        """Return values in float32; float64 stays."""

    def take(self, values: Any, places: Integers) -> Any:
        """Return the rows at these places."""

    def scale(self, values: Any, factors: Array) -> Any:
        """Return ``values [n, D]``, each row multiplied by its own of ``factors [n]``."""

    def side_by_side(self, parts: Sequence[Any]) -> Any:
        """Return parts ``[n, D_i]`` as one ``[n, D_1 + D_2 + …]``."""

    def run_sum(self, values: Any, lengths: Integers) -> Any:
        """Return the sum of each run of rows ``[R, D]``, which have so many rows one after the other; 0 of none."""

    def run_mean(self, values: Any, lengths: Integers) -> Any:
        """As `run_sum`, the mean."""

    def run_max(self, values: Any, lengths: Integers) -> Any:
        """As `run_sum`, the maximum; 0 of none."""

    def normalize(self, vectors: Any) -> Any:
        """Return vectors ``[n, D]`` of length 1; a vector of zeros stays."""

    def best(self, logits: Any, count: int, columns: Sequence[int] | None = None) -> tuple[Array, Integers]:
        """Return the probabilities of the ``count`` likeliest words of each row, and the words, both ``[M, count]``.

        Args:
            logits: ``[M, V]``.
            count: at most as many as there are to choose from.
            columns: the words to choose from, each found by its place in this list; None: all.
        """

    def guessed(self, logits: Any, wanted: Integers) -> Array:
        """Return whether the likeliest word is the one wanted, and the cross-entropy of that: float64 ``[M, 2]``."""

    def total(self, values: Any) -> Any:
        """Return a sum that is finite only if all values are, where they lie."""

    def finite_rows(self, values: Any) -> Array:
        """Return which rows hold neither NaN nor infinity, bool ``[n]``."""


def outputs_of(computed: Computed) -> "Iterable[Array | Tensor]":
    """Return each of the outputs."""
    return computed.values() if isinstance(computed, Mapping) else [computed]


def operations_on(values: Computed) -> Operations:
    """Return what computes with such values."""
    if isinstance(values, np.ndarray):
        return arrays
    from bertie.tasks import tensors

    return tensors
