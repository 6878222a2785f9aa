"""Packed batches, and conversion from and to padded rectangles: B texts of any lengths as T contiguous tokens.

Letters: B texts, S columns of the padded rectangle, T packed tokens, D hidden, H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple

from bertie.extras import need_torch

need_torch(__name__)

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from bertie.capture import is_intercepted, is_tracing
from bertie.errors import InputError, InputTypeError, counted, plural
from bertie.messages import short

Lists = Sequence[Sequence[int]]


class HostStats(NamedTuple):
    """Facts about a batch on the host, fetched in one transfer: lengths, and the range of each kind of value."""

    lengths: tuple[int, ...]
    id_range: tuple[int, int]
    type_range: tuple[int, int]
    position_range: tuple[int, int]

    @classmethod
    def of(cls, bounds: Sequence[int], lengths: Sequence[int]) -> "HostStats":
        """Return the facts, given the minima and maxima of ids, types and positions in ``bounds``."""
        low_id, high_id, low_type, high_type, low_position, high_position, *_ = bounds
        return cls(tuple(lengths), (low_id, high_id), (low_type, high_type), (low_position, high_position))


@dataclass(frozen=True, eq=False)
class Packed:
    """A batch of texts without padding: an immutable value that all layers share.

    Attributes:
        position_ids: ``[T]`` int64, the index of each token's position embedding.
        token_type_ids: ``[T]`` int64.
        cu_seqlens: ``[B + 1]`` int32; text ``i`` is the tokens ``cu_seqlens[i]:cu_seqlens[i + 1]``.
        shape: ``(B, S)``, the rectangle that this batch came from and that ``pad`` restores.
        input_ids: ``[T]`` int64, or None if ``inputs_embeds`` is given.
        inputs_embeds: ``[T, D]``, or None.
        flat_index: ``[T]`` int64, each token's index in the flattened rectangle; None: token ``t`` has index ``t``, and
            there is no padding.
        attention_mask: None if each text attends to itself (the usual case); else who attends to whom,
            ``[B, 1 or H, 1 or S, S_keys]``, bool (True: attend) or floats added to the scores.
        token_mask: ``[T]`` bool, False for padding, if that could not be packed away (while a graph is captured); else
            None.
        known_stats: facts about the batch, if they are on the host already.
    """

    position_ids: Tensor
    token_type_ids: Tensor
    cu_seqlens: Tensor
    shape: tuple[int, int]
    input_ids: Tensor | None = None
    inputs_embeds: Tensor | None = None
    flat_index: Tensor | None = None
    attention_mask: Tensor | None = None
    token_mask: Tensor | None = None
    known_stats: HostStats | None = None

    def __post_init__(self) -> None:
        content = self.input_ids if self.input_ids is not None else self.inputs_embeds
        if content is None or (self.input_ids is not None and self.inputs_embeds is not None):
            raise InputError("A Packed holds exactly one of input_ids and inputs_embeds.")
        for name in ("position_ids", "token_type_ids", "flat_index", "token_mask"):
            value = getattr(self, name)
            if value is not None and value.shape != content.shape[:1]:
                raise InputError(f"{name} has shape {tuple(value.shape)}, but the batch has {content.shape[0]} tokens.")
        if self.cu_seqlens.shape != (self.shape[0] + 1,):
            raise InputError(
                f"cu_seqlens has shape {tuple(self.cu_seqlens.shape)}; {counted(self.shape[0], 'text')} "
                f"{plural(self.shape[0], 'needs', 'need')} {self.shape[0] + 1}."
            )
        if self.cu_seqlens.dtype != torch.int32:
            raise InputError(f"cu_seqlens is {self.cu_seqlens.dtype}; it must be torch.int32: cu_seqlens.int().")
        # batches made here are known to be valid; those on a device are checked when their facts are fetched
        if self.known_stats is None and self.cu_seqlens.is_cpu and not is_intercepted():
            self._check_starts(self.cu_seqlens.tolist())

    def _check_starts(self, starts: list[int]) -> None:
        """Refuse starts that do not rise from 0 to the number of tokens: kernels would read out of bounds."""
        if starts[0] != 0 or starts[-1] != self.num_tokens or sorted(starts) != starts:
            raise InputError(
                f"cu_seqlens is {short(starts)}; it must rise from 0 to "
                f"{self.num_tokens}, the number of tokens: text i is the tokens cu_seqlens[i]:cu_seqlens[i + 1]."
            )
        longest = max((stop - start for start, stop in pairwise(starts)), default=0)
        if longest > self.shape[1]:
            raise InputError(f"A text has {longest} tokens, but shape {self.shape} allows at most {self.shape[1]}.")

    @classmethod
    def from_lists(
        cls,
        input_ids: Lists,
        token_type_ids: Lists | None = None,
        position_ids: Lists | None = None,
        device: torch.device | str | None = None,
    ) -> "Packed":
        """Pack token ids given as one list a text. Never waits for a device, since lengths and ranges are known.

        Raises:
            InputError: if a text has not as many types or positions as ids.
            InputTypeError: if something is not a list of integers.
        """
        lengths = _lengths(input_ids, "input_ids")
        for name, lists in (("token_type_ids", token_type_ids), ("position_ids", position_ids)):
            if lists is not None and _lengths(lists, name) != lengths:
                raise InputError(f"{name} must have as many entries as input_ids in every text.")
        types = None if token_type_ids is None else _chain(token_type_ids, "token_type_ids")
        positions = None if position_ids is None else _chain(position_ids, "position_ids")
        return cls.from_flat(_chain(input_ids, "input_ids"), lengths, types, positions, device)

    @classmethod
    def from_flat(
        cls,
        input_ids: "np.ndarray[Any, Any]",
        lengths: Sequence[int],
        token_type_ids: "np.ndarray[Any, Any] | None" = None,
        position_ids: "np.ndarray[Any, Any] | None" = None,
        device: torch.device | str | None = None,
    ) -> "Packed":
        """Pack the ids of concatenated texts; arrays are ``[T]`` int64 and are not copied.

        ``lengths`` are the numbers of tokens of the texts, T in all.

        Raises:
            InputError: if the arrays and lengths are of different sizes.
        """
        total, width = sum(lengths), max(lengths, default=0)
        if total != len(input_ids):
            raise InputError(f"lengths count {total} tokens in all, but input_ids has {len(input_ids)}.")
        if len(lengths) == 1:  # a shortcut, for the latency of single texts
            columns, flat_index = np.arange(total), None
        else:
            rows, columns = _rows_and_columns(lengths)
            flat_index = None if total == width * len(lengths) else torch.from_numpy(rows * width + columns)
        types = np.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        positions = columns if position_ids is None else position_ids
        packed = cls(
            input_ids=torch.from_numpy(input_ids),
            token_type_ids=torch.from_numpy(types),
            position_ids=torch.from_numpy(positions),
            cu_seqlens=_cu_seqlens(lengths, None),
            flat_index=flat_index,
            shape=(len(lengths), width),
            known_stats=HostStats(
                tuple(lengths),
                _range(input_ids),
                (0, 0) if token_type_ids is None else _range(types),
                (0, max(width - 1, 0)) if position_ids is None else _range(positions),
            ),
        )
        return packed if device is None else packed.to(device)

    @classmethod
    def from_padded(
        cls,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_length: int = 0,
    ) -> "Packed":
        """Pack a rectangle ``[B, S]`` (or ``[B, S, D]`` of embeddings), without the padding that a 2-D mask marks by 0.

        Positions default to columns, counted from ``past_length``. On CUDA, the lengths and ranges are copied to the
        host in one transfer.

        Raises:
            InputError: if the mask has another shape or holds anything but 0 and 1.
            InputTypeError: if ids are not integers.
        """
        content = input_ids if input_ids is not None else inputs_embeds
        if content is None:
            raise InputError("Nothing to pack: give input_ids or inputs_embeds.")
        shape = (content.shape[0], content.shape[1])
        if attention_mask is not None and attention_mask.shape != shape:
            raise InputError(f"attention_mask has shape {tuple(attention_mask.shape)}, but the batch has {shape}.")
        for name, values in (("input_ids", input_ids), ("token_type_ids", token_type_ids)):
            if values is not None:
                require_integers(name, values)
        columns = torch.arange(past_length, past_length + shape[1], device=content.device)
        positions = (columns if position_ids is None else position_ids).expand(shape)
        types = positions.new_zeros(()).expand(shape) if token_type_ids is None else token_type_ids.expand(shape)
        real = None if attention_mask is None else attention_mask != 0
        known_stats = _stats_of_rectangle(shape, input_ids, attention_mask, types, positions)
        total = sum(known_stats.lengths)
        flat_index = None
        if real is not None and total < shape[0] * shape[1]:
            flat_index = torch.nonzero_static(real.flatten(), size=total).squeeze(1)

        def pack(values: Tensor) -> Tensor:
            flat = values.reshape(shape[0] * shape[1], *values.shape[2:])
            return flat if flat_index is None else flat.index_select(0, flat_index)

        return cls(
            input_ids=None if input_ids is None else pack(input_ids).long(),
            inputs_embeds=None if inputs_embeds is None else pack(inputs_embeds),
            token_type_ids=pack(types).long(),
            position_ids=pack(positions).long(),
            cu_seqlens=_cu_seqlens(known_stats.lengths, content.device),
            flat_index=flat_index,
            shape=shape,
            known_stats=known_stats,
        )

    @cached_property
    def host_stats(self) -> HostStats:
        """Lengths and value ranges on the host; waits for the device unless the batch was made on the host."""
        if self.known_stats is not None:
            return self.known_stats
        ids = self.input_ids if self.input_ids is not None else self.position_ids.new_zeros(0)
        ranges = [_range_tensors(values) for values in (ids, self.token_type_ids, self.position_ids)]
        values = torch.cat([torch.stack([part for pair in ranges for part in pair]), self.cu_seqlens]).tolist()
        self._check_starts(values[6:])
        return HostStats.of(values, [stop - start for start, stop in pairwise(values[6:])])

    @property
    def lengths(self) -> tuple[int, ...]:
        """The number of tokens of each text, on the host."""
        return self.host_stats.lengths

    @property
    def num_tokens(self) -> int:
        """T, the number of tokens in the batch."""
        return self.position_ids.shape[0]

    @property
    def device(self) -> torch.device:
        return self.position_ids.device

    def pad(self, values: Tensor, fill: float | bool = 0) -> Tensor:
        """Lay ``values [T, ...]`` out as the rectangle ``[B, S, ...]``, with ``fill`` as padding."""
        tail = values.shape[1:]
        if self.flat_index is None:
            flat = values
            if self.token_mask is not None:
                mask = self.token_mask.reshape(-1, *(1 for _ in tail))
                flat = torch.where(mask, values, torch.as_tensor(fill, dtype=values.dtype, device=values.device))
            return flat.reshape(*self.shape, *tail)
        blank = values.new_full((self.shape[0] * self.shape[1], *tail), fill)
        return blank.index_copy(0, self.flat_index, values).view(*self.shape, *tail)

    def unpad(self, values: Tensor, fill: float | bool | None = None) -> Tensor:
        """Return the tokens' entries of a rectangle ``[B, S, ...]`` as ``[T, ...]``.

        ``fill`` replaces the entries of padding that could not be packed away (see ``token_mask``).
        """
        flat = values.reshape(self.shape[0] * self.shape[1], *values.shape[2:])
        if self.flat_index is not None:
            return flat.index_select(0, self.flat_index)
        if self.token_mask is None or fill is None:
            return flat
        return torch.where(self.token_mask.reshape(-1, *(1 for _ in values.shape[2:])), flat, fill)

    def first(self, values: Tensor) -> Tensor:
        """Return the entries of each text's first token in ``values [T, ...]``, as ``[B, ...]`` (decision 2).

        A text without tokens gets the entry of some other token: see ``empty``.
        """
        if values.shape[0] == 0:
            return values.new_zeros(self.shape[0], *values.shape[1:])
        starts = self.cu_seqlens[:-1].long()
        if self.token_mask is not None:
            starts = starts + self.token_mask.view(self.shape).to(torch.uint8).argmax(dim=1)
        return values.index_select(0, starts.clamp(max=values.shape[0] - 1))

    def cls_tokens(self) -> "Packed":
        """Return the batch of only the first token of each text.

        Raises:
            InputError: a text has no tokens.
        """
        if 0 in self.lengths:
            raise InputError(f"Text {self.lengths.index(0)} has no first token.")
        count = self.shape[0]
        return Packed(
            **self._gather(self.cu_seqlens[:-1].long()),
            cu_seqlens=torch.arange(count + 1, dtype=torch.int32, device=self.device),
            shape=(count, 1),
            known_stats=self.host_stats._replace(lengths=(1,) * count),
        )

    def _gather(self, index: Tensor) -> dict[str, Any]:
        """Return the per-token fields of the tokens ``index``."""
        names = ("input_ids", "inputs_embeds", "position_ids", "token_type_ids")
        values = {name: getattr(self, name) for name in names}
        return {name: None if value is None else value.index_select(0, index) for name, value in values.items()}

    def empty(self) -> Tensor | None:
        """Return ``[B]`` bool, True for a text without tokens; None if the host knows that there is none."""
        if self.token_mask is not None:
            return ~self.token_mask.view(self.shape).any(dim=1)
        return self.cu_seqlens.diff() == 0 if is_tracing() or 0 in self.lengths else None

    def select(self, texts: Sequence[int]) -> "Packed":
        """Return the batch of the texts with these indices, in this order.

        Raises:
            InputError: if there is no such text, or the batch holds padding.
        """
        if self.attention_mask is not None or self.token_mask is not None:
            raise InputError("Texts cannot be selected from a batch whose padding was not packed away.")
        for text in texts:
            if not 0 <= text < self.shape[0]:
                raise InputError(f"There is no text {int(text)} in this batch of {self.shape[0]}; texts count from 0.")
        starts = np.array([0, *accumulate(self.lengths)])[list(texts)]
        lengths = tuple(self.lengths[text] for text in texts)
        rows, columns = _rows_and_columns(lengths)
        index = torch.from_numpy(starts[rows] + columns).to(self.device)
        width = self.shape[1]
        own = torch.from_numpy(columns).to(self.device)
        flat_index = torch.from_numpy(rows * width).to(self.device)
        flat_index = flat_index + (own if self.flat_index is None else self.flat_index.index_select(0, index) % width)
        return replace(
            self,
            **self._gather(index),
            cu_seqlens=_cu_seqlens(lengths, self.device),
            flat_index=None if len(rows) == width * len(lengths) else flat_index,
            shape=(len(lengths), width),
            known_stats=None,
        )

    def with_attention_mask(self, attention_mask: Tensor, token_mask: Tensor | None = None) -> "Packed":
        """Return the same batch with a custom attention mask (see the class's attributes)."""
        return replace(self, attention_mask=attention_mask, token_mask=token_mask)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Packed":
        """Return the same batch on ``device``; its facts on the host are kept.

        From the host to a CUDA device, everything is copied in one transfer, for which the host does not wait.
        """
        target = torch.device(device)
        if target == self.device and self.known_stats is not None:
            return self
        tensors = {name: value for name in _TENSORS if (value := getattr(self, name)) is not None}
        moved: dict[str, Any]
        if target.type == "cuda" and self.device.type == "cpu" and not is_tracing():
            moved = _in_one_transfer(tensors, target)
        else:
            moved = {name: value.to(target, non_blocking=non_blocking) for name, value in tensors.items()}
        return replace(self, known_stats=self.host_stats if not is_tracing() else None, **moved)

    def __repr__(self) -> str:
        size = f"{counted(self.shape[0], 'text')}, {counted(self.num_tokens, 'token')}"
        return f"Packed({size}, rectangle {self.shape}, device={self.device})"


_TENSORS = (
    *("position_ids", "token_type_ids", "cu_seqlens", "input_ids", "inputs_embeds"),
    *("flat_index", "attention_mask", "token_mask"),
)


def _in_one_transfer(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Any]:
    """Return host tensors on ``device``, copied together through pinned memory.

    A copy from pageable memory would make the host wait for all work queued on the device.
    """
    constant = {name: value for name, value in tensors.items() if not value.requires_grad}
    sizes = [value.numel() * value.element_size() for value in constant.values()]
    ends = list(accumulate(-(-size // 16) * 16 for size in sizes))  # kernels read 16 bytes at a time
    slices = [slice(start, start + size) for start, size in zip([0, *ends], sizes, strict=False)]
    staging = torch.empty(ends[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
    for part, value in zip(slices, constant.values(), strict=True):
        staging[part].view(value.dtype).copy_(value.reshape(-1))
    sent = staging.to(device, non_blocking=True)
    moved: dict[str, Any] = {name: value.to(device) for name, value in tensors.items() if value.requires_grad}
    for part, (name, value) in zip(slices, constant.items(), strict=True):
        moved[name] = sent[part].view(value.dtype).view(value.shape)
    return moved


def require_tensor(name: str, values: object, allowed: str = "a torch.Tensor") -> None:
    """Refuse lists, arrays and anything else that is not a tensor, by name."""
    if not isinstance(values, Tensor):
        raise InputTypeError(f"{name} must be {allowed}, not {type(values).__name__}.")


def require_integers(name: str, values: Tensor) -> None:
    """Refuse ids that are not integers, by name."""
    if values.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        raise InputTypeError(f"{name} must be an integer tensor, not {values.dtype}; convert it with .long() if it is.")


def _chain(lists: Lists, name: str) -> "np.ndarray[Any, Any]":
    values = np.array(list(chain.from_iterable(lists)))
    if values.size and values.dtype.kind not in "iu":
        raise InputTypeError(f"{name} must hold integers, not {values.dtype}.")
    return values.astype(np.int64, copy=False)


def _lengths(lists: Lists, name: str) -> tuple[int, ...]:
    try:
        return tuple(len(values) for values in lists)
    except TypeError:
        raise InputTypeError(f"{name} must be one list of integers a text, such as [[101, 7592, 102]].") from None


def _rows_and_columns(lengths: Sequence[int]) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Return the text of every token, and its index in it, for texts of these lengths, both ``[T]`` int64."""
    counts = np.array(lengths, dtype=np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)


def _cu_seqlens(lengths: Sequence[int], device: torch.device | str | None) -> Tensor:
    starts = torch.from_numpy(np.array([0, *accumulate(lengths)], dtype=np.int32))
    return starts if device is None else starts.to(device)


def _range(values: "np.ndarray[Any, Any]") -> tuple[int, int]:
    return (int(values.min()), int(values.max())) if len(values) else (0, 0)


def _range_tensors(values: Tensor) -> tuple[Tensor, Tensor]:
    if values.numel() == 0:
        zero = torch.zeros((), dtype=torch.int64, device=values.device)
        return zero, zero
    low, high = values.aminmax()
    return low.long(), high.long()


def _stats_of_rectangle(
    shape: tuple[int, int], ids: Tensor | None, mask: Tensor | None, types: Tensor, positions: Tensor
) -> HostStats:
    """Fetch a rectangle's lengths and ranges in one transfer, and refuse a mask with values other than 0 and 1."""
    ids = types if ids is None else ids
    parts = [part for values in (ids, types, positions) for part in _range_tensors(values)]
    if mask is None:
        values = torch.stack(parts).tolist() if ids.is_cuda else [int(part) for part in parts]
        return HostStats.of(values, (shape[1],) * shape[0])
    real = mask != 0
    odd_count = (mask != real.to(mask.dtype)).sum()
    odd, *values = torch.cat([torch.stack([odd_count, *parts]), real.sum(dim=1)]).tolist()
    if odd:
        raise InputError(
            f"attention_mask may hold only 0 and 1 (or False and True), but {odd} of its entries are something else; "
            "pass (mask > 0.5) or a 4-D mask of floats if they are meant to be added to the scores."
        )
    return HostStats.of(values, values[6:])


def flatten(packed: Packed) -> tuple[list[Any], Any]:
    """Return the pytree children of a batch, its tensors, and its context, the rectangle's shape."""
    return [getattr(packed, name) for name in _TENSORS], packed.shape


def unflatten(values: Any, shape: Any, kind: type[Packed] = Packed) -> Packed:
    """Undo `flatten`."""
    # Only tensors enter a graph: facts on the host would force a compilation for every batch (decision 7).
    # Nothing is checked: tree_map may replace tensors by anything (activation checkpointing by None).
    packed = object.__new__(kind)
    packed.__dict__.update(zip(_TENSORS, values, strict=True), shape=shape, known_stats=None)
    return packed


pytree.register_pytree_node(Packed, flatten, unflatten, serialized_type_name="bertie.packing.Packed")
