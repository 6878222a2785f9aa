"""What classifiers learn by: losses summed over a batch, so that parts of a step can be added up.

Letters: N texts, C classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy_sum(logits: Tensor, labels: Tensor, weights: Tensor | None = None, focal: float = 0.0) -> Tensor:
    """Return the summed cross-entropy of ``logits [N, C]`` and class numbers ``labels [N]``, in float32.

    Args:
        logits: ``[N, C]``.
        labels: ``[N]`` int64; -100 is left out.
        weights: ``[C]``, what a text of each class counts; None: 1.
        focal: gamma of the focal loss (Lin et al. 2017, equation 4): a text counts ``(1 - p)^gamma`` times, p being
            the probability of its class; 0 is the plain loss.
    """
    logits = logits.float()
    if not focal:
        return F.cross_entropy(logits, labels, weights, ignore_index=-100, reduction="sum")
    losses = F.cross_entropy(logits, labels, ignore_index=-100, reduction="none")
    losses = losses * (1 - torch.exp(-losses)) ** focal
    return (losses if weights is None else losses * weights[labels.clamp(min=0)]).sum()


def binary_sum(logits: Tensor, labels: Tensor, weights: Tensor | None = None, focal: float = 0.0) -> Tensor:
    """Return the summed binary cross-entropy of ``logits [N, C]`` and ``labels [N, C]`` in [0, 1], in float32.

    Args:
        logits, labels: ``[N, C]``.
        weights: ``[C]``, what a text that has the label counts; None: 1.
        focal: gamma of the focal loss, as in `cross_entropy_sum`.
    """
    logits = logits.float()
    if not focal:
        return F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights, reduction="sum")
    losses = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights, reduction="none")
    missed = (labels - logits.sigmoid()).abs()
    return (losses * missed**focal).sum()
