"""The forward of a `transformers` encoder: on the engine for plain inference, else the original."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bertie.capture import is_intercepted
from bertie.errors import BertieError, InputError
from bertie.integrations.foreign_encoder import Fingerprint, Snapshot, modules_in, weights_in, why_not

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# the values of arguments that don't change an encoder's answer
_NEUTRAL = {"return_dict": (None, True), "use_cache": (None, False, True)}
_NEUTRAL |= {"is_causal": (None, False), "output_attentions": (None, False), "output_hidden_states": (None, False)}


class PaddedRows(NamedTuple):
    """A padded batch: the ids, types and positions ``[T]`` of its real tokens, and the length of each row."""

    shape: tuple[int, int]
    ids: NDArray[np.int64]
    types: NDArray[np.int64] | None
    lengths: list[int]
    positions: NDArray[np.int64] | None  # None: there is no padding

    def padded(self, hidden: NDArray[np.float32]) -> Tensor:
        """Return states of real tokens ``[T, D]`` as ``[B, S, D]``, with zeros at padding."""
        found = torch.from_numpy(hidden)
        if self.positions is not None:
            found = found.new_zeros(self.shape[0] * self.shape[1], found.shape[1]).index_copy_(
                0, torch.from_numpy(self.positions), found
            )
        return found.view(*self.shape, found.shape[1])


class State:
    """The state of an encoder: its weights at the last call, and their engine if there can be one."""

    def __init__(self) -> None:
        # a single pair, so that concurrent calls see consistent values while weights change
        self._known: tuple[Fingerprint | None, Snapshot | None] = (None, None)

    @property
    def snapshot(self) -> Snapshot | None:
        return self._known[1]

    def update(self, encoder: nn.Module, original: Callable[..., Any]) -> Snapshot | None:
        """Return the engine for an encoder's current weights, a new one if they changed.

        If there can't be one, a `BertieError` says why, and None is returned as long as the weights don't change.
        """
        why = why_not(encoder)
        now = None if why else Fingerprint.of(encoder)
        last, snapshot = self._known
        if why or last != now:
            self._known = (now, None)
            if why:
                raise InputError(why)
            snapshot = Snapshot.of(encoder, original)
            self._known = (now, snapshot)
        return snapshot


STATES: "WeakKeyDictionary[nn.Module, State]" = WeakKeyDictionary()


def forward(encoder: Any, original: Callable[..., Any], *args: Any, **arguments: Any) -> Any:
    """Return what ``original``, an encoder's bound forward, would return; on the engine, with zeros at padding."""
    rows = None if _is_learning(encoder) or is_intercepted() else _rows_of_call(encoder.config, args, arguments)
    if rows is None:
        return original(*args, **arguments)
    snapshot = None
    with suppress(BertieError):
        snapshot = STATES.setdefault(encoder, State()).update(encoder, original)
    if snapshot is None:
        return original(*args, **arguments)
    try:
        hidden = snapshot.engine.with_threads(torch.get_num_threads()).hidden_states(rows)
    except InputError:  # an id or a length that the original refuses with its own message
        return original(*args, **arguments)
    states = rows.padded(hidden)
    pooler = getattr(encoder, "pooler", None)
    pooled = {} if pooler is None else {"pooler_output": pooler(states)}
    return snapshot.output(last_hidden_state=states, **pooled)


def _is_learning(encoder: nn.Module) -> bool:
    """Whether dropout is active, or gradients may be needed."""
    modules = modules_in(encoder)
    if any(module.training for module in modules if type(module) is not nn.ModuleList):  # a new one is in training mode
        return True
    return torch.is_grad_enabled() and any(weight.requires_grad for weight in weights_in(modules))


def _rows_of_call(config: Any, args: tuple[Any, ...], arguments: dict[str, Any]) -> PaddedRows | None:
    """Return the rows of a call that only needs last hidden states; None if it needs anything else."""
    given = {**dict(zip(_INPUTS, args, strict=False)), **arguments}
    if len(args) > 2 or len(given) < len(args) + len(arguments) or torch.is_autocast_enabled("cpu"):
        return None
    ids, mask, types = (given.pop(name, None) for name in _INPUTS)
    options = {**{name: getattr(config, name, None) for name in _NEUTRAL}, **given}
    if any(value is not None and value not in _NEUTRAL.get(name, ()) for name, value in options.items()):
        return None
    if ids is None or not all(each is None or _is_plain(each, ids.shape) for each in (ids, mask, types)):
        return None
    return _pack(ids.numpy(), None if mask is None else mask.numpy(), None if types is None else types.numpy())


def _is_plain(given: Any, shape: tuple[int, ...]) -> bool:
    """Whether it is an integer or boolean matrix of this shape on the CPU."""
    return (
        type(given) is Tensor
        and given.shape == shape
        and given.dim() == 2
        and given.device.type == "cpu"
        and given.dtype in (torch.int64, torch.int32, torch.bool)
    )


def _pack(ids: NDArray[Any], mask: NDArray[Any] | None, types: NDArray[Any] | None) -> PaddedRows | None:
    """Return the padded rows; None unless padding is on the right, as the original's positions require."""
    width, flat = ids.shape[1], lambda numbers: numbers.reshape(-1).astype(np.int64, copy=False)
    if not ids.size:
        return None
    if mask is None or mask.all():
        return PaddedRows(ids.shape, flat(ids), None if types is None else flat(types), [width] * len(ids), None)
    lengths = (mask != 0).sum(1)
    if not np.array_equal(mask, np.arange(width) < lengths[:, None]) or not lengths.all():
        return None
    positions = np.flatnonzero(mask)
    real_types = None if types is None else flat(types)[positions]
    return PaddedRows(ids.shape, flat(ids)[positions], real_types, lengths.tolist(), positions)
