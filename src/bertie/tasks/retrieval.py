"""Partners found among many by the cosine of their vectors: at which rank each stands."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Cosines held at once while ranks are counted.
HELD = 2**24


def ranks_of_partners(inputs: Sequence[Any] | NDArray[Any], keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return the rank from 1 of each input's second vector among all that its first is compared with, int64 ``[N]``.

    These are the second and third vectors of all inputs, each text once. Others that are equally near stand before the
    partner, so that a model that gives every text the same vector has found none.

    Args:
        inputs: N arrays ``[2 or 3, D]`` of vectors of length 1.
        keys: what tells texts apart, one a vector, in the order of the inputs.
    """
    anchors: list[NDArray[Any]] = []
    candidates: list[NDArray[Any]] = []
    partners: list[int] = []
    numbers: dict[Hashable, int] = {}
    known = iter(keys)
    for vectors in inputs:
        next(known)
        anchors.append(vectors[0])
        for place, vector in enumerate(vectors[1:]):
            number = numbers.setdefault(next(known), len(numbers))
            if number == len(candidates):
                candidates.append(vector)
            if place == 0:
                partners.append(number)
    if not anchors:
        return np.zeros(0, np.int64)
    table, ranks = np.stack(candidates).T, []
    step = max(1, HELD // len(candidates))
    for first in range(0, len(anchors), step):
        cosines = np.stack(anchors[first : first + step]) @ table
        own = cosines[np.arange(len(cosines)), partners[first : first + step]]
        ranks.append((cosines >= own[:, None]).sum(axis=1))
    return np.concatenate(ranks)
