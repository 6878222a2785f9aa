"""What classifiers learn by: losses summed over a batch, so that parts of a step can be added up.

Letters: N texts, C classes.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.errors import InputError, spelled
from bertie.rules import Rule, short

# Options of the tasks whose loss is one of these.
RULES = {
    "focal": Rule("gamma of the focal loss", "number", 0),
    "label_smoothing": Rule("the share of each label that goes to all classes alike", "number", 0, 1),
}


def check_objective(options: Mapping[str, Any]) -> None:
    """Refuse options of the loss that are out of range, or of which one leaves the other undefined.

    Raises:
        InputError: naming the option and what is allowed.
    """
    for name, rule in RULES.items():
        if name in options and not rule.allows(options[name]):
            raise InputError(f"{spelled(name)} is {short(options[name])}; allowed: {rule.allowed}.")
    if options.get("focal") and options.get("label_smoothing"):
        both = " and ".join(spelled(name, options[name]) for name in RULES)
        raise InputError(f"{both} exclude each other: the focal loss looks at one right class alone; give one.")


def cross_entropy_sum(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, focal: float = 0.0, smoothing: float = 0.0
) -> Tensor:
    """Return the summed cross-entropy of ``logits [N, C]`` and class numbers ``labels [N]``, in float32.

    Args:
        logits: ``[N, C]``.
        labels: ``[N]`` int64; -100 is left out.
        weights: ``[C]``, what a text of each class counts; None: 1.
        focal: gamma of the focal loss (Lin et al. 2017, equation 4): a text counts ``(1 - p)^gamma`` times, p being
            the probability of its class; 0 is the plain loss.
        smoothing: the share of each label that is spread over all C classes (Szegedy et al. 2016, section 7), as
            PyTorch's ``label_smoothing``; not together with ``focal``.
    """
    logits = logits.float()
    if not focal:
        return F.cross_entropy(logits, labels, weights, ignore_index=-100, reduction="sum", label_smoothing=smoothing)
    losses = F.cross_entropy(logits, labels, ignore_index=-100, reduction="none")
    losses = losses * (1 - torch.exp(-losses)) ** focal
    return (losses if weights is None else losses * weights[labels.clamp(min=0)]).sum()


def binary_sum(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, focal: float = 0.0, smoothing: float = 0.0
) -> Tensor:
    """Return the summed binary cross-entropy of ``logits [N, C]`` and ``labels [N, C]`` in [0, 1], in float32.

    Args:
        logits, labels: ``[N, C]``.
        weights: ``[C]``, what a text that has the label counts; None: 1.
        focal: gamma of the focal loss, as in `cross_entropy_sum`.
        smoothing: the share of each label that is spread over yes and no: 1 becomes ``1 - smoothing / 2``.
    """
    logits = logits.float()
    labels = labels * (1 - smoothing) + smoothing / 2
    if not focal:
        return F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights, reduction="sum")
    losses = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights, reduction="none")
    missed = (labels - logits.sigmoid()).abs()
    return (losses * missed**focal).sum()
