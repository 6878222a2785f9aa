"""The keys and values of one layer, in storage that has room for more, and where those of each text lie in it."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bertie.capture import is_tracing
from bertie.errors import InputError, counted
from bertie.packing import Packed

# Storage grows to a multiple of this many columns, and at least to twice its size: most steps allocate nothing.
BLOCK = 64


@dataclass(frozen=True, eq=False)
class CachedKeys:
    """Where the keys of each text lie in a cache: text ``i`` has the first ``lengths[i]`` of its ``capacity`` places.

    ``attend`` takes it in the place of the batch of the keys; these are then ``[B * capacity, H, K]``.
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
        """``[2 B + 1]`` int32: after each text its free places, as if they were a text without queries."""
        starts = np.arange(len(self.lengths)) * self.capacity
        ends = np.stack([starts + self.lengths, starts + self.capacity], axis=1)
        return torch.from_numpy(np.concatenate([[0], ends.reshape(-1)]).astype(np.int32))

    def cu_seqlens_of(self, queries: Packed) -> Tensor:
        """``[2 B + 1]`` int32: the boundaries of ``queries`` beside those of the keys."""
        known: tuple[Packed, Tensor] | None = self.__dict__.get("_known")
        if known is None or known[0] is not queries:  # the layers of a model ask for the same, one after the other
            ends = queries.cu_seqlens[1:]
            known = queries, torch.cat([queries.cu_seqlens[:1], torch.stack([ends, ends], dim=1).flatten()])
            self.__dict__["_known"] = known
        return known[1]


@dataclass(frozen=True, eq=False)
class Growth:
    """What a step appends to a layer: to texts of these ``lengths`` so many ``new`` tokens, in rooms of ``capacity``.

    The layers of a model grow alike and share it.
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
        """``[T]`` int64: the place of each new token."""
        pairs = enumerate(zip(self.lengths, self.ends, strict=True))
        places = [text * self.capacity + at for text, (length, end) in pairs for at in range(length, end)]
        return torch.tensor(places, dtype=torch.int64, device=self.device)

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
        # the tokens of each text; of texts that grow unequally None says that they have padding between them
        self.lengths: tuple[int, ...] | None = ()
        self.width = 0
        self._places: CachedKeys | None = None  # those that were asked for last

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
        """Hold ``[B, H, S, K]``, of which nothing is known."""
        self._storage = _Storage(keys.transpose(1, 2), values.transpose(1, 2))
        self.width, self.lengths = keys.shape[2], None

    def update(self, keys: Tensor, values: Tensor, has_padding: bool) -> tuple[Tensor, Tensor]:
        """Append ``[B, H, S_new, K]`` to all rows and return all that they hold."""
        old, start = self._storage, self.width
        if old is not None and old.keys.shape[0] != keys.shape[0]:
            raise _other_batch(old.keys.shape[0], keys.shape[0])
        if self.lengths is not None and any(length != start for length in self.lengths):
            raise InputError(
                "past_key_values holds texts of unequal lengths, which were a Packed; go on with a Packed, whose "
                "position_ids begin at past_key_values.lengths."
            )
        end = start + keys.shape[2]
        new = [part.transpose(1, 2) for part in (keys, values)]
        if is_tracing() or _are_differentiated(keys, values, *(old or ())):
            filled = [part[:, :start] for part in old] if old else [part[:, :0] for part in new]
            self._storage = _Storage(*(torch.cat(pair, dim=1) for pair in zip(filled, new, strict=True)))
            self._spare = None
        else:
            storage = self._with_room(end, new[0])
            for part, added in zip(storage, new, strict=True):
                part[:, start:end] = added
        self.width = end
        self.lengths = None if has_padding or is_tracing() or self.lengths is None else (end,) * keys.shape[0]
        assert self._storage is not None
        return self._filled(self._storage.keys), self._filled(self._storage.values)

    def append(self, keys: Tensor, values: Tensor, new: tuple[int, ...], growth: Growth | None = None) -> Growth:
        """Append to text ``i`` the next ``new[i]`` of the tokens ``[T, H, K]``, and return how the layer grew.

        ``growth``: how another layer grew, which is shared if this one grows alike.
        """
        lengths = self.lengths
        if lengths is None:
            raise InputError(
                "past_key_values was filled with padded rows; go on with rows and an attention_mask over all of them, "
                "or begin with a Packed."
            )
        lengths = lengths or (0,) * len(new)
        if len(lengths) != len(new):
            raise _other_batch(len(lengths), len(new))
        width = max(map(sum, zip(lengths, new, strict=True)), default=0)
        storage = self._with_room(width, keys.new_empty(len(new), 0, *keys.shape[1:]))
        capacity = storage.keys.shape[1]
        own = lengths, new, capacity, keys.device
        if growth is None or (growth.lengths, growth.new, growth.capacity, growth.device) != own:
            growth = Growth(*own)
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
        self.lengths, self.width, self._places = growth.ends, width, growth.keys
        return growth

    def packed(self) -> tuple[Tensor, Tensor, CachedKeys]:
        """Return keys and values ``[B * capacity, H, K]``, and which of them belong to each text."""
        assert self._storage is not None
        assert self.lengths is not None
        keys, values = self._storage
        places = self._places
        if places is None or (places.lengths, places.capacity) != (self.lengths, keys.shape[1]):
            places = self._places = CachedKeys(self.lengths, keys.shape[1])
        return keys.flatten(0, 1), values.flatten(0, 1), places

    def _with_room(self, width: int, like: Tensor) -> _Storage:
        """Return storage for ``width`` columns of rows such as ``like [B, ..., H, K]``, with what is held already."""
        old = self._storage
        if old is None or width > old.keys.shape[1] or _is_frozen(old):
            held = 0 if old is None else old.keys.shape[1]
            columns = held if width <= held else max(-(-width // BLOCK) * BLOCK, 2 * held)
            # zeros: what is masked is multiplied with 0, and must not be NaN
            parts = [like.new_zeros(like.shape[0], columns, *like.shape[2:]) for _ in range(2)]
            for part, before in zip(parts, old or (), strict=False):
                part[:, : self.width] = before[:, : self.width]
            self._storage, self._spare = _Storage(*parts), None
        assert self._storage is not None
        return self._storage

    def select(self, texts: Tensor) -> None:
        """Make text ``i`` what text ``texts[i]`` was."""
        if self._storage is None:
            return
        count, index = self._storage.keys.shape[0], texts.to(self._storage.keys.device)
        if texts.numel() and not (int(texts.min()) >= 0 and int(texts.max()) < count):
            raise InputError(f"beam_idx {texts.tolist()} names texts outside the cache's batch of {count}.")
        if self.lengths:
            self.lengths = tuple(self.lengths[text] for text in texts.tolist())
            self.width = max(self.lengths, default=0)
        old, spare = self._storage, self._spare
        if len(texts) != count or old.keys.requires_grad or _is_frozen(old):
            self._storage, self._spare = _Storage(*(part.index_select(0, index) for part in old)), None
            return
        # beams change places at every step: two storages take turns
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
    """Whether a gradient needs them later, so that nothing may be written into them."""
    return torch.is_grad_enabled() and any(each.requires_grad for each in tensors)


def _is_frozen(storage: _Storage) -> bool:
    """Whether it was made in inference mode, out of which nothing may be written into it."""
    return storage.keys.is_inference() and not torch.is_inference_mode_enabled()


def _other_batch(held: int, given: int) -> InputError:
    return InputError(
        f"past_key_values holds a batch of {counted(held, 'text')}, but this call brings {given}; reorder the cache or "
        "start with a new one."
    )
