"""What a student learns from its teacher: sums over a batch, the teacher's side without gradient.

Letters: N texts, T tokens, C classes, D hidden, H heads, K head width, S the longest text.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def logits_sum(found: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Return the summed divergence of a student's classes from the teacher's, of logits ``[N, C]`` or ``[T, C]``.

    Both are softened by the temperature, whose square keeps the gradients' size (Hinton et al. 2015, section 2).
    """
    student, teacher = (F.log_softmax(logits.float() / temperature, dim=-1) for logits in (found, wanted))
    return temperature**2 * F.kl_div(student, teacher, reduction="sum", log_target=True)


def labels_sum(found: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """As `logits_sum`, where each of the C labels is a yes or no of its own."""
    student, teacher = (torch.stack([logits, torch.zeros_like(logits)], dim=-1) for logits in (found, wanted))
    return logits_sum(student, teacher, temperature)


def cosine_distance_sum(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the summed distance 1 - cosine of vectors ``[N, D]``."""
    return (1 - F.cosine_similarity(found.float(), wanted.float(), dim=-1)).sum()


def hidden_sum(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return the summed squared error of a token's hidden states ``[T, D]``, the mean over D and over the layers.

    Layer by layer as in TinyBERT (Jiao et al. 2020, equation 8), without a projection: widths are equal.
    """
    pairs = zip(found, wanted, strict=True)
    errors = [F.mse_loss(one.float(), other.float(), reduction="sum") / one.shape[-1] for one, other in pairs]
    return torch.stack(errors).mean()


def relations_sum(found: Sequence[Tensor], wanted: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    """Return the summed divergence of a token's relations to the tokens of its text, the mean over the H heads.

    ``found`` and ``wanted`` are queries, keys and values ``[T, H, K]`` of one layer. Relations are the softmax of
    scaled dot products of queries with queries, keys with keys, and values with values (Wang et al. 2021, section 3.1).
    """
    sums = []
    for student, teacher in zip(found, wanted, strict=True):
        given, right = (_relations(vectors, lengths) for vectors in (student, teacher))
        sums.append((right.exp() * (right - given)).sum() / student.shape[1])
    return torch.stack(sums).mean()


def _relations(vectors: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the logarithms of a batch's relations ``[N, H, S, S]``, 0 where there is no token."""
    rows = pad_sequence(vectors.float().split(list(lengths)), batch_first=True).transpose(1, 2)
    real = torch.arange(rows.shape[2]) < torch.as_tensor(lengths)[:, None]
    real = real.to(rows.device)[:, None]
    scores = rows @ rows.mT / rows.shape[-1] ** 0.5
    logs = scores.masked_fill(~real[:, :, None], -torch.inf).log_softmax(dim=-1)
    return logs.masked_fill(~(real[:, :, None] & real[..., None]), 0.0)
