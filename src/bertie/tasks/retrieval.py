"""Partners found among many by the cosine of their vectors: the rank of each, and which others are right as well."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Cosines held at once while ranks are counted.
HELD = 2**24


def ranks_of_partners(inputs: Sequence[Any] | NDArray[Any], keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return the rank from 1 of each input's second vector among all that its first is compared with, int64 ``[N]``.

    These are the second and third vectors of all inputs, each text once. Others that are equally near stand before the
    partner, so that a model that gives every text the same vector has found none. Other partners of an anchor of the
    same text, and that text itself, do not count: they are no worse an answer.

    Args:
        inputs: N arrays ``[2 or 3, D]`` of vectors of length 1.
        keys: what tells texts apart, one a vector, in the order of the inputs.
    """
    anchors: list[NDArray[Any]] = []
    candidates: list[NDArray[Any]] = []
    partners: list[int] = []
    numbers: dict[Hashable, int] = {}
    texts: list[Hashable] = []
    known = iter(keys)
    for vectors in inputs:
        texts.append(next(known))
        anchors.append(vectors[0])
        for place, vector in enumerate(vectors[1:]):
            number = numbers.setdefault(next(known), len(numbers))
            if number == len(candidates):
                candidates.append(vector)
            if place == 0:
                partners.append(number)
    if not anchors:
        return np.zeros(0, np.int64)
    others = _other_partners(texts, partners, numbers)
    table, ranks = np.stack(candidates).T, []
    step = max(1, HELD // len(candidates))
    for first in range(0, len(anchors), step):
        cosines = np.stack(anchors[first : first + step]) @ table
        own = cosines[np.arange(len(cosines)), partners[first : first + step]]
        nearer = cosines >= own[:, None]
        for row, right in zip(nearer, others[first : first + step], strict=False):
            row[right] = False
        ranks.append(nearer.sum(axis=1))
    return np.concatenate(ranks)


def _other_partners(
    anchors: Sequence[Hashable], partners: Sequence[int], numbers: Mapping[Hashable, int]
) -> list[list[int]]:
    """Return for each anchor the candidates, by number, that are right beside its own partner."""
    right: dict[Hashable, set[int]] = {text: {numbers[text]} for text in anchors if text in numbers}
    for text, partner in zip(anchors, partners, strict=True):
        right.setdefault(text, set()).add(partner)
    return [sorted(right[text] - {partner}) for text, partner in zip(anchors, partners, strict=True)]


def false_negatives(anchors: NDArray[Any], positives: NDArray[Any], candidates: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which candidates are no strangers to which anchors, bool ``[N, C]``.

    These are the partners of all anchors of the same text, and that text itself.

    Args:
        anchors, positives: ``[N]``, what tells texts apart; entry ``i`` of one is the partner of entry ``i`` of the
            other.
        candidates: ``[C]``, the same of all that anchors are compared with.
    """
    _, numbers = np.unique(np.concatenate([anchors, positives, candidates]), return_inverse=True)
    firsts, seconds, others = np.split(numbers, [len(anchors), 2 * len(anchors)])
    known = np.eye(numbers.max(initial=-1) + 1, dtype=np.bool_)
    known[firsts, seconds] = True
    return known[firsts][:, others]
