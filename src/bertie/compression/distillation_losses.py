"""Distillation losses: sums over a batch; the teacher's tensors have no gradient.

Letters: N texts, T tokens, C classes, D hidden, H heads, K head width, S the longest text.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def logits_sum(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the summed KL divergence of class probabilities from the teacher's, of logits ``[N, C]`` or ``[T, C]``.

    Both are softened by the temperature, whose square preserves the gradients' scale (Hinton et al. 2015, section 2).
    """
    log_p, log_q = (F.log_softmax(logits.float() / temperature, dim=-1) for logits in (student, teacher))
    return temperature**2 * F.kl_div(log_p, log_q, reduction="sum", log_target=True)


def labels_sum(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """As `logits_sum`, for C independent binary labels."""
    first, second = (torch.stack([logits, torch.zeros_like(logits)], dim=-1) for logits in (student, teacher))
    return logits_sum(first, second, temperature)


def cosine_distance_sum(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the summed distance 1 - cosine of vectors ``[N, D]``."""
    return (1 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)).sum()


def hidden_sum(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Return the squared error of hidden states ``[T, D]``, summed over tokens, and averaged over D and layers.

    Layer by layer as in TinyBERT (Jiao et al. 2020, equation 8), without a projection, as widths are equal.
    """
    pairs = zip(student, teacher, strict=True)
    errors = [F.mse_loss(one.float(), other.float(), reduction="sum") / one.shape[-1] for one, other in pairs]
    return torch.stack(errors).mean()


def relations_sum(student: Sequence[Tensor], teacher: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    """Return the KL divergence of tokens' relations within their texts, summed over tokens, averaged over H heads.

    ``student`` and ``teacher`` are queries, keys and values ``[T, H, K]`` of one layer. Relations are the softmax of
    scaled dot products of queries with queries, keys with keys, and values with values (Wang et al. 2021, section 3.1).
    """
    sums = []
    for own, other in zip(student, teacher, strict=True):
        log_p, log_q = (_relations(vectors, lengths) for vectors in (own, other))
        sums.append((log_q.exp() * (log_q - log_p)).sum() / own.shape[1])
    return torch.stack(sums).mean()


def _relations(vectors: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the logarithms of a batch's relations ``[N, H, S, S]``, 0 at padding."""
    rows = pad_sequence(vectors.float().split(list(lengths)), batch_first=True).transpose(1, 2)
    real = torch.arange(rows.shape[2]) < torch.as_tensor(lengths)[:, None]
    real = real.to(rows.device)[:, None]
    scores = rows @ rows.mT / rows.shape[-1] ** 0.5
    logs = scores.masked_fill(~real[:, :, None], -torch.inf).log_softmax(dim=-1)
    return logs.masked_fill(~(real[:, :, None] & real[..., None]), 0.0)
