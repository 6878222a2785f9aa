"""Layer normalization of rows, by bertie's kernel or by NumPy."""

from typing import NamedTuple

import numpy as np

from bertie.engine.activations import Array
from bertie.kernels import library, normalization


class Norm(NamedTuple):
    """A layer normalization (Ba et al. 2016)."""

    weight: Array  # [D]
    bias: Array  # [D]
    eps: float

    def __call__(self, x: Array, threads: int) -> Array:
        """Return ``(x - mean) / sqrt(variance + eps) * weight + bias`` of each row of ``x [T, D]``."""
        best = library.best()
        if best is not None:
            return normalization.layer_norm(x, *self, best, threads=threads)
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        return centred / np.sqrt(variance + np.float32(self.eps)) * self.weight + self.bias
