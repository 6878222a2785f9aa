"""Several masks of a text filled one after the other, each seeing the words that were filled in before it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bertie.tasks.arrays import Array, Integers
from bertie.tasks.features import Features
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed

ORDERS = ("left-to-right", "confidence")

# logits [M, V] → the scores of the best words of each mask, best first, and the words' ids, [M, k] each
FindBest = Callable[[Computed], tuple[Array, Integers]]


def fill_jointly(
    model: Model, features: Features, masks: Integers, order: str, mask_token_id: int, best: FindBest
) -> Mapping[str, Array]:
    """Return ``scores`` and ``words [M, k]`` of the masks at places ``[M]``, each as it was predicted last.

    "left-to-right" fills the first mask that is left. "confidence" is Mask-Predict (Ghazvininejad et al. 2019, section
    3) with as many iterations as a text has masks: all that are masked are predicted, and in iteration t the N - t
    least likely words are masked again. Both compute a text as often as it has masks.
    """
    rows = features.rows_of(masks)
    counts = np.bincount(rows, minlength=len(features.lengths))
    numbers = np.arange(len(masks)) - (np.cumsum(counts) - counts)[rows]  # of each mask within its text
    ids, found = features.ids.copy(), None
    for step in range(counts.max(initial=0)):
        if order == "left-to-right":
            hidden, asked = numbers >= step, numbers == step
        else:
            confidence = np.zeros(len(masks)) if found is None else found[0][:, 0]
            hidden = asked = _ranks(confidence, rows, numbers) < (counts - step)[rows]
        ids[masks[hidden]] = mask_token_id
        new = best(_predicted(model, replace(features, ids=ids), masks[asked]))
        if found is None:
            found = tuple(np.zeros((len(masks), part.shape[1]), part.dtype) for part in new)
        for part, predicted in zip(found, new, strict=True):
            part[asked] = predicted
        ids[masks[asked]] = new[1][:, 0]
    scores, words = found if found is not None else (np.zeros((0, 1)), np.zeros((0, 1), np.int64))
    return {"scores": scores, "words": words}


def _predicted(model: Model, features: Features, places: Integers) -> Any:
    """Return the logits ``[m, V]`` at ``places``; rows without one are not computed."""
    rows, index = np.unique(features.rows_of(places), return_inverse=True)
    part = features.select(rows.tolist())
    moved = part.starts - features.starts[rows]
    return model.masked_lm(part, places + moved[index])


def _ranks(scores: Array, rows: Integers, numbers: Integers) -> Integers:
    """Return how many masks of its text come before each ``[M]``, from the lowest score to the highest."""
    ranks = np.empty_like(numbers)
    ranks[np.lexsort((scores, rows))] = numbers
    return ranks
