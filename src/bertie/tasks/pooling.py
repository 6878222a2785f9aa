"""From the vectors of a text's tokens to one vector: sums and maxima over runs of ``[T, D]``, never a rectangle.

Letters: T packed tokens, B texts, D hidden.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from bertie.packing import Packed
from bertie.tasks.features import Array, Features

# What makes one text's vector: takes tokens [T, D] and each text's number of tokens [B], gives [B, D].
Pool = Callable[[Tensor, Tensor], Tensor]


def pool(hidden: Tensor, packed: Packed, modes: Sequence[str], skip: int = 0, owned: Array | None = None) -> Tensor:
    """Return ``[B, D · len(modes)]`` in the order of ``modes``, accumulated in float32 (float64 stays).

    Args:
        hidden: ``[T, D]``, the last hidden states of the batch ``packed``.
        packed: the batch.
        modes: names in `MODES`; several are concatenated.
        skip: tokens at the start of every text that take no part (a prompt's).
        owned: of texts read in windows, ``[T]`` bool: the tokens that take part, except in `WHOLE` modes; in place of
            ``skip``.
    """
    wide = hidden if hidden.dtype == torch.float64 else hidden.float()
    lengths = torch.tensor(packed.lengths) if packed.cu_seqlens.is_cpu else packed.cu_seqlens.diff().long()
    kept = wide, lengths
    if owned is not None:
        kept = _owned(wide, packed, owned)
    elif skip:
        kept = _without_first(wide, packed, lengths, skip)
    whole = kept if owned is None else (wide, lengths)
    found = [MODES[mode](*(whole if mode in WHOLE else kept)) for mode in modes]
    return found[0] if len(found) == 1 else torch.cat(found, dim=1)


def merge(rows: Sequence[Array], features: Features, modes: Sequence[str]) -> Array:
    """As `merged`, of rows on the host."""
    if not rows:
        return np.zeros((0, 0), np.float32)
    return merged(torch.from_numpy(np.stack(rows)), features, modes).numpy()


def merged(vectors: Tensor, features: Features, modes: Sequence[str]) -> Tensor:
    """Return the vectors ``[N, D · len(modes)]`` of texts from those of their windows ``[R, D · len(modes)]``.

    A window counts by the tokens it owns, so that a mean is the mean of all tokens of the text.
    """
    assert features.owned is not None
    counts = np.add.reduceat(features.owned, [0, *np.cumsum(features.lengths)[:-1]], dtype=np.float32)
    owners = features.owner_of_rows
    totals = np.bincount(owners, counts, features.num_inputs).astype(np.float32)
    weights = torch.from_numpy((counts / np.maximum(totals, 1)[owners])[:, None]).to(vectors)
    lengths = torch.from_numpy(np.diff(features.first_rows)).to(vectors.device)
    found = []
    for mode, part in zip(modes, vectors.chunk(len(modes), dim=1), strict=True):
        if mode == "max":
            found.append(_max(part, lengths))
        else:
            found.append(_sum(part * (weights.sqrt() if mode == "mean_sqrt_len_tokens" else weights), lengths))
    return torch.cat(found, dim=1)


def _owned(tokens: Tensor, packed: Packed, owned: Array) -> tuple[Tensor, Tensor]:
    """Return the tokens that are their windows' own, and how many each has."""
    counts = np.add.reduceat(owned, np.cumsum([0, *packed.lengths[:-1]]), dtype=np.int64)
    places = torch.from_numpy(np.flatnonzero(owned)).to(tokens.device)
    return tokens.index_select(0, places), torch.from_numpy(counts).to(tokens.device)


def _without_first(tokens: Tensor, packed: Packed, lengths: Tensor, skip: int) -> tuple[Tensor, Tensor]:
    """Return the tokens without the first ``skip`` of each text, and how many each keeps."""
    places = torch.arange(len(tokens), device=tokens.device) - packed.cu_seqlens[:-1].long().repeat_interleave(
        lengths, output_size=len(tokens)
    )
    # the host knows how many are left, and need not wait for the device to count them
    left = sum(max(length - skip, 0) for length in packed.lengths)
    kept = torch.nonzero_static(places >= skip, size=left).squeeze(1)
    return tokens.index_select(0, kept), (lengths - skip).clamp(min=0)


def _sum(tokens: Tensor, lengths: Tensor) -> Tensor:
    return _reduced(tokens, lengths, "sum")


def _reduced(tokens: Tensor, lengths: Tensor, way: str) -> Tensor:
    """Return the sum or mean of each run of tokens, 0 for one without any."""
    # runs lie beside each other: unlike index_add, each sum has one order, on a GPU too
    # unsafe: without a look at the lengths, for which the host would wait
    return torch.segment_reduce(tokens, way, lengths=lengths, initial=0.0, unsafe=True)


def _mean(tokens: Tensor, lengths: Tensor) -> Tensor:
    return _reduced(tokens, lengths, "mean")


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
# of a window, these take a token that stands for all of it
WHOLE = ("cls", "lasttoken")
