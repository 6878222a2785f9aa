"""Pooling token vectors into text vectors: sums and maxima over segments of ``[T, D]``, without padding.

Letters: T packed tokens, R rows, N texts, D dimensions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bertie.tasks.arrays import Array, Integers, ranges
from bertie.tasks.features import Features
from bertie.tasks.operations import Operations, operations_on

# (operations, token vectors [T, D], tokens per row [R]) → vectors [R, D]
Pool = Callable[[Operations, Any, Integers], Any]


def pool(hidden: Any, lengths: Sequence[int], modes: Sequence[str], skip: int = 0, owned: Array | None = None) -> Any:
    """Return ``[R, D · len(modes)]`` from hidden states ``[T, D]``, accumulated in float32 (float64 stays).

    The first ``skip`` tokens of every row (a prompt) are excluded. For texts read in windows the ``owned [T]`` tokens
    are pooled instead, except in `SINGLE_TOKEN_MODES`, which see all.
    """
    do, counts = operations_on(hidden), np.array(lengths, np.int64)
    whole = kept = do.to_float32(hidden), counts
    if owned is not None or skip:
        is_kept = _positions_in_rows(counts) >= skip if owned is None else owned
        rows = np.repeat(np.arange(len(counts)), counts)[is_kept]
        kept = do.take(whole[0], np.flatnonzero(is_kept)), np.bincount(rows, minlength=len(counts))
    found = [MODES[mode](do, *(whole if owned is not None and mode in SINGLE_TOKEN_MODES else kept)) for mode in modes]
    return found[0] if len(found) == 1 else do.concatenate(found)


def pool_windows(vectors: Any, features: Features, modes: Sequence[str]) -> Any:
    """Return the vectors ``[N, D · len(modes)]`` of texts from those of their windows ``[R, D · len(modes)]``.

    Windows are weighted by the number of tokens they own, so that a mean is the mean over all tokens of the text.
    """
    assert features.owned is not None
    do, window_counts = operations_on(vectors), np.diff(features.first_rows)
    counts = np.add.reduceat(features.owned, features.starts, dtype=np.float32)
    owners = features.owner_of_rows
    totals = np.bincount(owners, counts, features.num_inputs).astype(np.float32)
    weights = counts / np.maximum(totals, 1)[owners]
    width = vectors.shape[1] // len(modes)
    found = []
    for number, mode in enumerate(modes):
        part = vectors[:, number * width : (number + 1) * width]
        if mode == "max":
            found.append(do.segment_max(part, window_counts))
        else:
            factors = np.sqrt(weights) if mode == "mean_sqrt_len_tokens" else weights
            found.append(do.segment_sum(do.scale(part, factors), window_counts))
    return do.concatenate(found)


def _positions_in_rows(lengths: Integers) -> Integers:
    return ranges(np.zeros_like(lengths), lengths)


def _mean_sqrt_len(do: Operations, tokens: Any, lengths: Integers) -> Any:
    return do.scale(do.segment_sum(tokens, lengths), 1 / np.sqrt(np.maximum(lengths, 1)))


def _weighted_mean(do: Operations, tokens: Any, lengths: Integers) -> Any:
    totals = lengths * (lengths + 1) / 2
    weighted = do.scale(tokens, _positions_in_rows(lengths) + 1)
    return do.scale(do.segment_sum(weighted, lengths), 1 / np.maximum(totals, 1))


MODES: dict[str, Pool] = {
    "cls": lambda do, tokens, lengths: do.take(tokens, np.cumsum(lengths) - lengths),
    "max": lambda do, tokens, lengths: do.segment_max(tokens, lengths),
    "mean": lambda do, tokens, lengths: do.segment_mean(tokens, lengths),
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": lambda do, tokens, lengths: do.take(tokens, np.cumsum(lengths) - 1),
}
# these take the vector of one token, which represents the whole row
SINGLE_TOKEN_MODES = ("cls", "lasttoken")
