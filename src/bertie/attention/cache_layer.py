"""The keys and values of one layer, in storage with spare capacity, and where each text's are in it."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bertie.capture import is_tracing
from bertie.errors import InputError, counted
from bertie.packing import Packed

# Storage at least doubles, to a multiple of this many columns, so that most steps allocate nothing.
BLOCK = 64


@dataclass(frozen=True, eq=False)
class CachedKeys:
    """Where each text's keys are in a cache: text ``i`` has the first ``lengths[i]`` of its ``capacity`` columns.

    ``attend`` takes it instead of the keys' batch; the keys are then ``[B * capacity, H, K]``.
    """

    lengths: tuple[int, ...]
    capacity: int
    attention_mask: None = None

    @property
    def shape(self) -> tuple[int, int]:
        """``(B, S)``, S the length of the longest text."""
        return len(self.lengths), max(self.lengths, default=0)

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """``[2 B + 1]`` int32: the spare capacity after each text counts as a text without queries."""
        starts = np.arange(len(self.lengths)) * self.capacity
        ends = np.stack([starts + self.lengths, starts + self.capacity], axis=1)
        return torch.from_numpy(np.concatenate([[0], ends.reshape(-1)]).astype(np.int32))

    def cu_seqlens_of(self, queries: Packed) -> Tensor:
        """``[2 B + 1]`` int32: the boundaries of ``queries``, to match `cu_seqlens`."""
        cached: tuple[Packed, Tensor] | None = self.__dict__.get("_cached")
        if cached is None or cached[0] is not queries:  # consecutive layers of a model ask for the same
            ends = queries.cu_seqlens[1:]
            cached = queries, torch.cat([queries.cu_seqlens[:1], torch.stack([ends, ends], dim=1).flatten()])
            self.__dict__["_cached"] = cached
        return cached[1]


@dataclass(frozen=True, eq=False)
class Growth:
    """What a step appends to a layer: ``new`` tokens for each text, after its ``lengths``, in ``capacity`` columns.

    All layers of a model grow alike and share one.
    """

    lengths: tuple[int, ...]
    new: tuple[int, ...]
    capacity: int
    device: torch.device

    @cached_property
    def ends(self) -> tuple[int, ...]:
        return tuple(length + more for length, more in zip(self.lengths, self.new, strict=True))

    @cached_property
    def index(self) -> Tensor:
        """``[T]`` int64: the index of each new token in the flattened storage."""
        pairs = enumerate(zip(self.lengths, self.ends, strict=True))
        columns = [text * self.capacity + column for text, (start, end) in pairs for column in range(start, end)]
        return torch.tensor(columns, dtype=torch.int64, device=self.device)

    @cached_property
    def keys(self) -> CachedKeys:
        return CachedKeys(self.ends, self.capacity)


class _Storage(NamedTuple):
    keys: Tensor  # [B, capacity, H, K]
    values: Tensor


class CacheLayer:
    """The keys and values of one layer; None before the first update."""

    def __init__(self) -> None:
        self._storage: _Storage | None = None
        self._spare: _Storage | None = None
        # the number of tokens of each text; None if rows have padding, so that it is unknown
        self.lengths: tuple[int, ...] | None = ()
        self.width = 0
        self._packed_keys: CachedKeys | None = None  # as last returned by `packed`

    @property
    def keys(self) -> Tensor | None:
        """``[B, H, S, K]``."""
        return None if self._storage is None else self._filled(self._storage.keys)

    @property
    def values(self) -> Tensor | None:
        """``[B, H, S, K]``."""
        return None if self._storage is None else self._filled(self._storage.values)

    def _filled(self, part: Tensor) -> Tensor:
        return part[:, : self.width].transpose(1, 2)

    def set_rows(self, keys: Tensor, values: Tensor) -> None:
        """Set the contents to ``[B, H, S, K]``, whose padding is unknown."""
        self._storage = _Storage(keys.transpose(1, 2), values.transpose(1, 2))
        self.width, self.lengths = keys.shape[2], None

    def update(self, keys: Tensor, values: Tensor, has_padding: bool) -> tuple[Tensor, Tensor]:
        """Append ``[B, H, S_new, K]`` to the rows and return their whole contents."""
        old, start = self._storage, self.width
        if old is not None and old.keys.shape[0] != keys.shape[0]:
            raise _batch_size_error(old.keys.shape[0], keys.shape[0])
        if self.lengths is not None and any(length != start for length in self.lengths):
            raise InputError(
                "past_key_values holds texts of unequal lengths, from a Packed; continue with a Packed whose "
                "position_ids begin at past_key_values.lengths."
            )
        end = start + keys.shape[2]
        new = [part.transpose(1, 2) for part in (keys, values)]
        if is_tracing() or _are_differentiated(keys, values, *(old or ())):
            filled = [part[:, :start] for part in old] if old else [part[:, :0] for part in new]
            self._storage = _Storage(*(torch.cat(pair, dim=1) for pair in zip(filled, new, strict=True)))
            self._spare = None
        else:
            storage = self._reserve(end, new[0])
            for part, added in zip(storage, new, strict=True):
                part[:, start:end] = added
        self.width = end
        self.lengths = None if has_padding or is_tracing() or self.lengths is None else (end,) * keys.shape[0]
        assert self._storage is not None
        return self._filled(self._storage.keys), self._filled(self._storage.values)

    def append(self, keys: Tensor, values: Tensor, new: tuple[int, ...], growth: Growth | None = None) -> Growth:
        """Append the next ``new[i]`` of the tokens ``[T, H, K]`` to text ``i``, and return how the layer grew.

        ``growth``: how another layer grew, which is reused if this one grows alike.
        """
        lengths = self.lengths
        if lengths is None:
            raise InputError(
                "past_key_values was filled with padded rows; continue with rows and an attention_mask over all of "
                "them, or begin with a Packed."
            )
        lengths = lengths or (0,) * len(new)
        if len(lengths) != len(new):
            raise _batch_size_error(len(lengths), len(new))
        width = max(map(sum, zip(lengths, new, strict=True)), default=0)
        storage = self._reserve(width, keys.new_empty(len(new), 0, *keys.shape[1:]))
        capacity = storage.keys.shape[1]
        fields = lengths, new, capacity, keys.device
        if growth is None or (growth.lengths, growth.new, growth.capacity, growth.device) != fields:
            growth = Growth(*fields)
        index = growth.index
        if _are_differentiated(keys, values, *storage):
            self._storage = _Storage(
                *(
                    part.flatten(0, 1).index_copy(0, index, added).view(part.shape)
                    for part, added in zip(storage, (keys, values), strict=True)
                )
            )
        else:
            for part, added in zip(storage, (keys, values), strict=True):
                part.flatten(0, 1).index_copy_(0, index, added)
        self.lengths, self.width, self._packed_keys = growth.ends, width, growth.keys
        return growth

    def packed(self) -> tuple[Tensor, Tensor, CachedKeys]:
        """Return keys and values ``[B * capacity, H, K]``, and where each text's are."""
        assert self._storage is not None
        assert self.lengths is not None
        keys, values = self._storage
        cached = self._packed_keys
        if cached is None or (cached.lengths, cached.capacity) != (self.lengths, keys.shape[1]):
            cached = self._packed_keys = CachedKeys(self.lengths, keys.shape[1])
        return keys.flatten(0, 1), values.flatten(0, 1), cached

    def _reserve(self, width: int, like: Tensor) -> _Storage:
        """Return storage with at least ``width`` columns for rows like ``like [B, ..., H, K]``, with the contents."""
        old = self._storage
        if old is None or width > old.keys.shape[1] or _is_read_only(old):
            capacity = 0 if old is None else old.keys.shape[1]
            columns = capacity if width <= capacity else max(-(-width // BLOCK) * BLOCK, 2 * capacity)
            # zeros: masked values are multiplied by 0, and must not be NaN
            parts = [like.new_zeros(like.shape[0], columns, *like.shape[2:]) for _ in range(2)]
            for part, before in zip(parts, old or (), strict=False):
                part[:, : self.width] = before[:, : self.width]
            self._storage, self._spare = _Storage(*parts), None
        assert self._storage is not None
        return self._storage

    def select(self, texts: Tensor) -> None:
        """Replace text ``i`` by text ``texts[i]``."""
        if self._storage is None:
            return
        count, index = self._storage.keys.shape[0], texts.to(self._storage.keys.device)
        if texts.numel() and not (int(texts.min()) >= 0 and int(texts.max()) < count):
            raise InputError(f"beam_idx {texts.tolist()} has indices outside the cache's batch of {count} texts.")
        if self.lengths:
            self.lengths = tuple(self.lengths[text] for text in texts.tolist())
            self.width = max(self.lengths, default=0)
        old, spare = self._storage, self._spare
        if len(texts) != count or old.keys.requires_grad or _is_read_only(old):
            self._storage, self._spare = _Storage(*(part.index_select(0, index) for part in old)), None
            return
        # beams are reordered at every step: two storages alternate
        spare = _Storage(*map(torch.empty_like, old)) if spare is None else spare
        for part, kept in zip(old, spare, strict=True):
            torch.index_select(part, 0, index, out=kept)
        self._storage, self._spare = spare, old

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``-tokens_to_remove`` tokens of each text."""
        removed = min(-tokens_to_remove, self.width)
        self.width -= removed
        if self.lengths is not None:
            self.lengths = tuple(max(length - removed, 0) for length in self.lengths)


def _are_differentiated(*tensors: Tensor) -> bool:
    """Whether a gradient will need them, so that they must not be modified in place."""
    return torch.is_grad_enabled() and any(each.requires_grad for each in tensors)


def _is_read_only(storage: _Storage) -> bool:
    """Whether it was made in inference mode, outside of which it cannot be modified."""
    return storage.keys.is_inference() and not torch.is_inference_mode_enabled()


def _batch_size_error(held: int, given: int) -> InputError:
    return InputError(
        f"past_key_values holds a batch of {counted(held, 'text')}, but this call has {given}; reorder the cache or "
        "start with a new one."
    )
