"""From the vectors of a text's tokens to one vector: sums and maxima over runs of ``[T, D]``, never a rectangle.

Letters: T packed tokens, R rows, N texts, D numbers of a vector.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bertie.tasks.arrays import Array, Integers, ranges
from bertie.tasks.features import Features
from bertie.tasks.operations import Operations, operations_on

# What makes one row's vector: takes tokens [T, D], each row's number of tokens [R], and what computes; gives [R, D].
Pool = Callable[[Operations, Any, Integers], Any]


def pool(hidden: Any, lengths: Sequence[int], modes: Sequence[str], skip: int = 0, owned: Array | None = None) -> Any:
    """Return ``[R, D · len(modes)]`` of hidden states ``[T, D]``, accumulated in float32 (float64 stays).

    The first ``skip`` tokens of every row (a prompt's) take no part. Of texts read in windows, those that are ``owned
    [T]`` take part instead, but in `WHOLE` modes all do.
    """
    do, counts = operations_on(hidden), np.array(lengths, np.int64)
    whole = kept = do.widened(hidden), counts
    if owned is not None or skip:
        takes_part = _places_in_rows(counts) >= skip if owned is None else owned
        rows = np.repeat(np.arange(len(counts)), counts)[takes_part]
        kept = do.take(whole[0], np.flatnonzero(takes_part)), np.bincount(rows, minlength=len(counts))
    found = [MODES[mode](do, *(whole if owned is not None and mode in WHOLE else kept)) for mode in modes]
    return found[0] if len(found) == 1 else do.side_by_side(found)


def merged(vectors: Any, features: Features, modes: Sequence[str]) -> Any:
    """Return the vectors ``[N, D · len(modes)]`` of texts from those of their windows ``[R, D · len(modes)]``.

    A window counts by the tokens it owns, so that a mean is the mean of all tokens of the text.
    """
    assert features.owned is not None
    do, runs = operations_on(vectors), np.diff(features.first_rows)
    counts = np.add.reduceat(features.owned, features.starts, dtype=np.float32)
    owners = features.owner_of_rows
    totals = np.bincount(owners, counts, features.num_inputs).astype(np.float32)
    weights = counts / np.maximum(totals, 1)[owners]
    width = vectors.shape[1] // len(modes)
    found = []
    for number, mode in enumerate(modes):
        part = vectors[:, number * width : (number + 1) * width]
        if mode == "max":
            found.append(do.run_max(part, runs))
        else:
            factors = np.sqrt(weights) if mode == "mean_sqrt_len_tokens" else weights
            found.append(do.run_sum(do.scale(part, factors), runs))
    return do.side_by_side(found)


def _places_in_rows(lengths: Integers) -> Integers:
    return ranges(np.zeros_like(lengths), lengths)


def _mean_sqrt_len(do: Operations, tokens: Any, lengths: Integers) -> Any:
    return do.scale(do.run_sum(tokens, lengths), 1 / np.sqrt(np.maximum(lengths, 1)))


def _weighted_mean(do: Operations, tokens: Any, lengths: Integers) -> Any:
    totals = lengths * (lengths + 1) / 2
    weighted = do.scale(tokens, _places_in_rows(lengths) + 1)
    return do.scale(do.run_sum(weighted, lengths), 1 / np.maximum(totals, 1))


MODES: dict[str, Pool] = {
    "cls": lambda do, tokens, lengths: do.take(tokens, np.cumsum(lengths) - lengths),
    "max": lambda do, tokens, lengths: do.run_max(tokens, lengths),
    "mean": lambda do, tokens, lengths: do.run_mean(tokens, lengths),
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": lambda do, tokens, lengths: do.take(tokens, np.cumsum(lengths) - 1),
}
# of a window, these take a token that stands for all of it
WHOLE = ("cls", "lasttoken")
