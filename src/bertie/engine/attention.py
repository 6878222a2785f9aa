"""Attention within packed rows, by bertie's kernel or by NumPy."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.engine.activations import Array
from bertie.kernels import library
from bertie.kernels.attention import attention

Starts: TypeAlias = NDArray[np.int32]
# takes q [n, H, S_q, K] and k [n, H, S_k, K] of n rows of equal length, and returns a bias to add to their scores
ScoreBias: TypeAlias = Callable[[Array, Array], Array]


def attend(
    q: Array,  # [T_q, H, K]
    k: Array,  # [T_k, H, K], like the values
    v: Array,
    starts_q: Starts,  # where each row's queries begin, and where the last row's end, [R + 1]
    starts_k: Starts,
    threads: int,
    bias: ScoreBias | None = None,
    approximate: bool = False,  # whether bfloat16 products are allowed
) -> Array:
    """Return the context ``[T_q, H, K]`` of queries over the keys of their row (Vaswani et al. 2017, section 3.2.1)."""
    best = library.best()
    if best is not None and bias is None:
        return attention(q, k, v, starts_q, starts_k, best, threads=threads, approximate=approximate)
    context = np.empty_like(q)
    sizes = np.stack((np.diff(starts_q), np.diff(starts_k)))
    for size in np.unique(sizes[:, sizes[0] > 0], axis=1).T:
        rows = np.flatnonzero((size == sizes.T).all(1))
        of_q, of_k = (at[rows, None] + np.arange(each) for at, each in zip((starts_q, starts_k), size, strict=True))
        queries, keys, values = (
            part[tokens].transpose(0, 2, 1, 3) for part, tokens in ((q, of_q), (k, of_k), (v, of_k))
        )
        context[of_q] = (attention_weights(queries, keys, bias) @ values).transpose(0, 2, 1, 3)
    return context


def relative_bias(distances: Array, with_key_term: bool) -> ScoreBias:
    """Return the bias of relative positions, from a vector for each distance ``[2 P - 1, K]`` (arXiv 1803.02155).

    ``with_key_term``: also multiply keys with these vectors, as queries are (arXiv 2009.13658, method 4).
    """
    max_positions = (len(distances) + 1) // 2

    def bias(q: Array, k: Array) -> Array:
        distance = np.arange(q.shape[2])[:, None] - np.arange(k.shape[2])
        vectors = distances[distance + max_positions - 1]  # [S_q, S_k, K]
        scores = np.einsum("nhqd,qkd->nhqk", q, vectors)
        if with_key_term:
            scores += np.einsum("nhkd,qkd->nhqk", k, vectors)
        return scores * np.float32(q.shape[3] ** -0.5)

    return bias


def causal(q: Array, k: Array) -> Array:
    """A `ScoreBias` that masks the keys after each query; the queries are the last tokens of their row."""
    queries, keys = q.shape[2], k.shape[2]
    return np.triu(np.full((queries, keys), -np.inf, np.float32), keys - queries + 1)


def distance_buckets(queries: int, keys: int) -> NDArray[np.int64]:
    """Return the bucket, one of 32, of the distance from each query to each key, ``[S_q, S_k]``.

    The upper 16 are for keys after the query. Of each 16, the first 8 are for single distances, the others for ranges
    that grow logarithmically up to a distance of 128 (arXiv 1910.10683, section 2.1).
    """
    ahead = np.arange(keys) - np.arange(queries)[:, None]
    distance = np.abs(ahead)
    far = np.log(np.maximum(distance, 1).astype(np.float32) / 8) / np.float32(math.log(16)) * 8
    return np.where(distance < 8, distance, np.minimum(8 + far.astype(np.int64), 15)) + 16 * (ahead > 0)


def bucket_bias(table: Array) -> ScoreBias:
    """Return the `ScoreBias` of a table ``[32, H]``: a bias for each of `distance_buckets` and head."""
    return lambda q, k: table[distance_buckets(q.shape[2], k.shape[2])].transpose(2, 0, 1)[None]


def attention_weights(q: Array, k: Array, bias: ScoreBias | None) -> Array:
    """Return the attention weights ``[n, H, S_q, S_k]`` of n rows of equal length."""
    scores = q @ k.swapaxes(2, 3) * np.float32(1 / math.sqrt(q.shape[3]))
    if bias is not None:
        scores += bias(q, k)
    scores = np.exp(scores - scores.max(axis=3, keepdims=True))
    return scores / scores.sum(axis=3, keepdims=True)
