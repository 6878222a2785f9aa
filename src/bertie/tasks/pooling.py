"""From the vectors of a text's tokens to one vector: sums and maxima over runs of ``[T, D]``, never a rectangle.

Letters: T packed tokens, B texts, D hidden.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bertie.packing import Packed

# What makes one text's vector: takes tokens [T, D] and each text's number of tokens [B], gives [B, D].
Pool = Callable[[Tensor, Tensor], Tensor]


def pool(hidden: Tensor, packed: Packed, modes: Sequence[str], skip: int = 0) -> Tensor:
    """Return ``[B, D · len(modes)]`` in the order of ``modes``, accumulated in float32 (float64 stays).

    Args:
        hidden: ``[T, D]``, the last hidden states of the batch ``packed``.
        packed: the batch.
        modes: names in `MODES`; several are concatenated.
        skip: tokens at the start of every text that take no part (a prompt's).
    """
    lengths = packed.cu_seqlens.diff().long()
    if skip:
        places = torch.arange(len(hidden), device=hidden.device) - packed.cu_seqlens[:-1].long().repeat_interleave(
            lengths, output_size=len(hidden)
        )
        # the host knows how many are left, and need not wait for the device to count them
        left = sum(max(length - skip, 0) for length in packed.lengths)
        kept = torch.nonzero_static(places >= skip, size=left).squeeze(1)
        hidden, lengths = hidden.index_select(0, kept), (lengths - skip).clamp(min=0)
    wide = hidden if hidden.dtype == torch.float64 else hidden.float()
    return torch.cat([MODES[mode](wide, lengths) for mode in modes], dim=1)


def _sum(tokens: Tensor, lengths: Tensor) -> Tensor:
    # runs lie beside each other: unlike index_add, each sum has one order, on a GPU too
    # unsafe: without a look at the lengths, for which the host would wait
    return torch.segment_reduce(tokens, "sum", lengths=lengths, initial=0.0, unsafe=True)


def _mean(tokens: Tensor, lengths: Tensor) -> Tensor:
    return _sum(tokens, lengths) / lengths.clamp(min=1)[:, None]


def _mean_sqrt_len(tokens: Tensor, lengths: Tensor) -> Tensor:
    return _sum(tokens, lengths) / lengths.clamp(min=1).sqrt()[:, None]


def _max(tokens: Tensor, lengths: Tensor) -> Tensor:
    highest = torch.segment_reduce(tokens, "max", lengths=lengths, unsafe=True)
    return highest.masked_fill(lengths[:, None] == 0, 0.0)


def _weighted_mean(tokens: Tensor, lengths: Tensor) -> Tensor:
    starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths, output_size=len(tokens))
    weights = (torch.arange(len(tokens), device=tokens.device) - starts + 1).to(tokens.dtype)[:, None]
    return _sum(tokens * weights, lengths) / _sum(weights, lengths).clamp(min=1e-9)


def _first(tokens: Tensor, lengths: Tensor) -> Tensor:
    return tokens.index_select(0, lengths.cumsum(0) - lengths)


def _last(tokens: Tensor, lengths: Tensor) -> Tensor:
    return tokens.index_select(0, lengths.cumsum(0) - 1)


MODES: dict[str, Pool] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
