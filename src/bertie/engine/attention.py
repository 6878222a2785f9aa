"""Self-attention of packed rows, each token within its own row, by bertie's kernel or by NumPy."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.engine.activations import Array
from bertie.kernels import library
from bertie.kernels.attention import attention

Starts: TypeAlias = NDArray[np.int32]
# takes q [n, H, S_q, K] and k [n, H, S_k, K] of n rows of one length, and returns what is added to their scores
ScoreBias: TypeAlias = Callable[[Array, Array], Array]


def attend(
    q: Array,  # [T_q, H, K]
    k: Array,  # [T_k, H, K], as are the values
    v: Array,
    starts_q: Starts,  # where each row's queries begin and the last's end, [R + 1]
    starts_k: Starts,
    threads: int,
    bias: ScoreBias | None = None,
    approximate: bool = False,  # whether products of bfloat16 will do
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


def relative_bias(distances: Array, by_key_too: bool) -> ScoreBias:
    """Return what relative positions add, by a vector for each distance ``[2 P - 1, K]`` (arXiv 1803.02155).

    With ``by_key_too``, keys look at the distance as queries do (arXiv 2009.13658, method 4).
    """
    most = (len(distances) + 1) // 2

    def bias(q: Array, k: Array) -> Array:
        vectors = distances[np.arange(q.shape[2])[:, None] - np.arange(k.shape[2]) + most - 1]  # [S_q, S_k, K]
        scores = np.einsum("nhqd,qkd->nhqk", q, vectors)
        if by_key_too:
            scores += np.einsum("nhkd,qkd->nhqk", k, vectors)
        return scores * np.float32(q.shape[3] ** -0.5)

    return bias


def causal(q: Array, k: Array) -> Array:
    """Return what hides from the queries, which are the last of their row, the keys behind them (a `ScoreBias`)."""
    queries, keys = q.shape[2], k.shape[2]
    return np.triu(np.full((queries, keys), -np.inf, np.float32), keys - queries + 1)


def distance_buckets(queries: int, keys: int) -> NDArray[np.int64]:
    """Return into which of 32 buckets the distance of each query to each key falls, ``[S_q, S_k]``.

    Half of them are for keys behind the query; of each half, the first 8 are for one distance each, the others for
    ranges that grow up to a distance of 128 (arXiv 1910.10683, section 2.1).
    """
    ahead = np.arange(keys) - np.arange(queries)[:, None]
    distance = np.abs(ahead)
    far = np.log(np.maximum(distance, 1).astype(np.float32) / 8) / np.float32(math.log(16)) * 8
    return np.where(distance < 8, distance, np.minimum(8 + far.astype(np.int64), 15)) + 16 * (ahead > 0)


def bucket_bias(table: Array) -> ScoreBias:
    """Return what a bias for each of `distance_buckets` and head, ``[32, H]``, adds."""
    return lambda q, k: table[distance_buckets(q.shape[2], k.shape[2])].transpose(2, 0, 1)[None]


def attention_weights(q: Array, k: Array, bias: ScoreBias | None) -> Array:
    """Return how the queries of n rows of one length share their attention among the keys, ``[n, H, S_q, S_k]``."""
    scores = q @ k.swapaxes(2, 3) * np.float32(1 / math.sqrt(q.shape[3]))
    if bias is not None:
        scores += bias(q, k)
    scores = np.exp(scores - scores.max(axis=3, keepdims=True))
    return scores / scores.sum(axis=3, keepdims=True)
