"""Inputs of several parts, each a row (or windows) of its own: the choices of a prompt, the texts of a pair."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bertie.tasks.arrays import Integers
from bertie.tasks.features import Features


def in_parts(features: Features, counts: Sequence[int]) -> Features:
    """Return the features of N inputs from those of all their parts.

    Args:
        features: of all parts, an input each, those of an input one after the other.
        counts: how many parts each input has.
    """
    inputs = np.repeat(np.arange(len(counts)), np.asarray(counts, np.int64))
    numbers = np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)])
    owners = features.owner_of_rows
    return replace(
        features,
        owners=inputs[owners],
        parts=numbers[owners],
        truncated=np.bincount(inputs, features.truncated, len(counts)).astype(int).tolist(),
        empty=(np.bincount(inputs, np.logical_not(features.empty), len(counts)) == 0).tolist(),
    )


def by_part(features: Features) -> Features:
    """Return the same rows as those of U parts, each an input of its own."""
    begins = _begins(features)
    count = int(begins.sum())
    return Features(
        ids=features.ids,
        types=features.types,
        lengths=features.lengths,
        truncated=[0] * count,
        empty=[False] * count,
        owners=None if count == len(features.lengths) else np.cumsum(begins) - 1,
        owned=features.owned,
    )


def part_counts(features: Features) -> Integers:
    """Return how many parts each input has, int64 ``[N]``."""
    return np.bincount(features.owner_of_rows[_begins(features)], minlength=features.num_inputs)


def part_keys(features: Features) -> list[int]:
    """Return a number a part that is the same where the part's tokens are the same, in order of the parts."""
    starts = np.cumsum([0, *features.lengths])[:-1][_begins(features)]
    return [hash(ids.tobytes()) for ids in np.split(features.ids, starts[1:])]


def _begins(features: Features) -> NDArray[np.bool_]:
    """Return which rows are the first of a part, bool ``[R]``."""
    assert features.parts is not None
    numbers = features.owner_of_rows, features.parts
    changes = [np.diff(values, prepend=-1) != 0 for values in numbers]
    return changes[0] | changes[1]
