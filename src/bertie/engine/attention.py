"""Self-attention of packed rows, each token within its own row, by bertie's kernel or by NumPy."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from bertie.engine.activations import Array
from bertie.engine.batch import Batch
from bertie.kernels import library
from bertie.kernels.attention import attention

# takes q and k [n, H, S, K] of n rows of one length and returns what is added to their scores [n, H, S, S]
ScoreBias: TypeAlias = Callable[[Array, Array], Array]


def attend(q: Array, k: Array, v: Array, batch: Batch, threads: int, bias: ScoreBias | None = None) -> Array:
    """Return the context ``[T, H, K]`` of every token (Vaswani et al. 2017, section 3.2.1)."""
    best = library.best()
    if best is not None and bias is None:
        return attention(q, k, v, batch.cu_seqlens, batch.cu_seqlens, best, threads=threads)
    context = np.empty_like(q)
    lengths = np.asarray(batch.lengths)
    for length in np.unique(lengths).tolist():
        rows = batch.firsts[lengths == length, None] + np.arange(length)  # [n, S]
        context[rows] = _attend(bias, *(part[rows].transpose(0, 2, 1, 3) for part in (q, k, v))).transpose(0, 2, 1, 3)
    return context


def attend_first(q: Array, k: Array, v: Array, batch: Batch, threads: int) -> Array:
    """Return the context ``[R, H, K]`` of each row's first token, whose queries are ``q [R, H, K]``."""
    best = library.best()
    if best is not None:
        each_one = np.arange(len(q) + 1, dtype=np.int32)
        return attention(q, k, v, each_one, batch.cu_seqlens, best, threads=threads)
    context = np.empty_like(q)
    lengths = np.asarray(batch.lengths)
    for length in np.unique(lengths).tolist():
        here = np.flatnonzero(lengths == length)
        rows = batch.firsts[here, None] + np.arange(length)
        context[here] = _attend(None, q[here, :, None], *(part[rows].transpose(0, 2, 1, 3) for part in (k, v)))[:, :, 0]
    return context


def relative_bias(distances: Array, by_key_too: bool) -> ScoreBias:
    """Return what relative positions add (arXiv 1803.02155; 2009.13658, methods 3 and 4).

    Args:
        distances: ``[2 P - 1, K]``, a vector for each distance between a query and a key.
        by_key_too: whether keys look at the distance as queries do.
    """
    most = (len(distances) + 1) // 2

    def bias(q: Array, k: Array) -> Array:
        places = np.arange(q.shape[2])
        vectors = distances[places[:, None] - places + most - 1]  # [S, S, K]
        scores = np.einsum("nhqd,qkd->nhqk", q, vectors)
        if by_key_too:
            scores += np.einsum("nhkd,qkd->nhqk", k, vectors)
        return scores * np.float32(q.shape[3] ** -0.5)

    return bias


def _attend(bias: ScoreBias | None, q: Array, k: Array, v: Array) -> Array:
    """Return the context ``[n, H, S, K]`` of n rows of one length."""
    scores = q @ k.swapaxes(2, 3) * np.float32(1 / math.sqrt(q.shape[3]))
    if bias is not None:
        scores += bias(q, k)
    scores = np.exp(scores - scores.max(axis=3, keepdims=True))
    return scores @ v / scores.sum(axis=3, keepdims=True)
