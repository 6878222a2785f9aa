"""The losses of tasks: on tensors, summed over a batch, so that parts of a step can be added up.

Letters: N texts, C classes, T tokens, R rows, D dimensions.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bertie.config import IGNORED
from bertie.row_losses import row_losses
from bertie.tasks.arrays import PADDING_LOGIT, Array, ranges
from bertie.tasks.similarity import partners_of
from bertie.tasks.tensors import on_device_of

Numbers: TypeAlias = Tensor | Array | Sequence[float]


def cross_entropy_sum(
    logits: Tensor, labels: Numbers, weights: Numbers | None = None, focal: float = 0.0, smoothing: float = 0.0
) -> Tensor:
    """Return the summed cross-entropy of ``logits [N, C]`` and class numbers ``labels [N]``, in float32.

    A text has the weight of its class in ``weights [C]``, multiplied in the focal loss (Lin et al. 2017, equation 4) by
    ``(1 - p)^focal``, where p is the probability of its class. ``smoothing`` is the share of each label that is spread
    over all classes (Szegedy et al. 2016, section 7); not together with ``focal``.
    """
    gold, weight = _on_device_of(logits, labels), _on_device_of(logits, weights)
    if not torch.is_autocast_enabled(logits.device.type):  # autocast computes it in float32 anyway
        logits = logits.float()
    if not focal and (weight is not None or smoothing):
        return F.cross_entropy(logits, gold, weight, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)
    losses = row_losses(logits, gold)
    if not focal:
        return losses.sum()
    losses = losses * (1 - torch.exp(-losses)) ** focal
    return (losses if weight is None else losses * weight[gold.clamp(min=0)]).sum()


def binary_sum(
    logits: Tensor, labels: Numbers, weights: Numbers | None = None, focal: float = 0.0, smoothing: float = 0.0
) -> Tensor:
    """Return the summed binary cross-entropy of ``logits [N, C]`` and ``labels [N, C]`` in [0, 1], in float32.

    ``weights [C]`` multiply the loss of texts that have the label; ``smoothing`` is spread over 0 and 1: a label of 1
    becomes ``1 - smoothing / 2``. The rest is as in `cross_entropy_sum`.
    """
    logits, weight = logits.float(), _on_device_of(logits, weights)
    gold = _on_device_of(logits, labels) * (1 - smoothing) + smoothing / 2
    if not focal:
        return F.binary_cross_entropy_with_logits(logits, gold, pos_weight=weight, reduction="sum")
    losses = F.binary_cross_entropy_with_logits(logits, gold, pos_weight=weight, reduction="none")
    missed = (gold - logits.sigmoid()).abs()
    return (losses * missed**focal).sum()


def squared_error_sum(numbers: Tensor, labels: Numbers) -> Tensor:
    """Return the summed squared error of numbers and labels of the same shape."""
    return F.mse_loss(numbers.float(), _on_device_of(numbers, labels), reduction="sum")


def span_sum(logits: Tensor, lengths: Sequence[int], places: Array) -> Tensor:
    """Return the summed loss of ``logits [T, 2]``: per row the mean of its start's and end's, at ``places [R, 2]``."""
    padded = _pad(logits.float(), np.asarray(lengths), -torch.inf)
    start, end = (cross_entropy_sum(padded[..., side], places[:, side]) for side in (0, 1))
    return (start + end) / 2


def choice_sum(logits: Tensor, counts: Array, labels: Array) -> Tensor:
    """Return the summed cross-entropy of N inputs over ``counts [N]`` choices each, whose ``logits [C]`` are joined."""
    return cross_entropy_sum(_pad(logits.float(), counts, PADDING_LOGIT), labels)


def contrastive_sum(
    anchors: Tensor, positives: Tensor, negatives: Tensor, scale: float, texts: tuple[Array, Array, Array]
) -> Tensor:
    """Return the summed cross-entropy of finding partners by ``scale`` times the dot product of normalized vectors.

    Row ``i`` of ``positives [N, D]`` is the partner of row ``i`` of ``anchors``; ``negatives [K, D]`` are additional
    candidates for all anchors. Without negatives it is the mean of both directions: positives find anchors, too.
    ``texts`` holds identifiers of the texts of all three.
    """
    partners = torch.arange(len(anchors), device=anchors.device)
    found = scale * anchors @ torch.cat([positives, negatives]).T
    if len(np.unique(np.concatenate(texts))) < sum(map(len, texts)):
        right = false_negatives(texts[0], texts[1], np.concatenate(texts[1:]))
        np.fill_diagonal(right, False)
        found = found.masked_fill(on_device_of(found, right), -torch.inf)
    loss = F.cross_entropy(found, partners, reduction="sum")
    if len(negatives):
        return loss
    return (loss + F.cross_entropy(found.T, partners, reduction="sum")) / 2


def false_negatives(anchors: NDArray[Any], positives: NDArray[Any], candidates: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which candidates are not true negatives of which anchors, bool ``[N, C]``, from identifiers of the texts.

    These are the anchor's own text, and the positives of all anchors with the same text.
    """
    known = partners_of(anchors.tolist(), positives.tolist())
    columns: dict[Any, list[int]] = {}
    for column, text in enumerate(candidates.tolist()):
        columns.setdefault(text, []).append(column)
    found = np.zeros((len(anchors), len(candidates)), np.bool_)
    for row, anchor in zip(found, anchors.tolist(), strict=True):
        row[[column for text in known[anchor] for column in columns.get(text, ())]] = True
    return found


def _on_device_of(logits: Tensor, values: Numbers | None) -> Any:
    """Return labels or weights as a tensor on the logits' device; None for None."""
    return None if values is None else torch.as_tensor(values, device=logits.device)


def _pad(values: Tensor, counts: Array, fill: float) -> Tensor:
    """Return N concatenated segments ``[n, ...]`` as a padded tensor ``[N, longest, ...]``."""
    rows = np.repeat(np.arange(len(counts)), counts)
    columns = ranges(np.zeros_like(counts), counts)
    places = tuple(on_device_of(values, part) for part in (rows, columns))
    return values.new_full((len(counts), int(counts.max()), *values.shape[1:]), fill).index_put(places, values)
