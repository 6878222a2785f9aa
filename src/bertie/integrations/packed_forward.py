"""The forward of an encoder of `transformers`: on the engine where only answers are asked, else the original."""

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
# arguments that change nothing of an encoder's answer, by their values
_IDLE = {"return_dict": (None, True), "use_cache": (None, False, True)}
_IDLE |= {"is_causal": (None, False), "output_attentions": (None, False), "output_hidden_states": (None, False)}


class Rectangle(NamedTuple):
    """Padded rows, and of their real tokens the ids and types ``[T]``, each row's length, and the places ``[T]``."""

    shape: tuple[int, int]
    ids: NDArray[np.int64]
    types: NDArray[np.int64] | None
    lengths: list[int]
    places: NDArray[np.int64] | None  # None: there is no padding

    def padded(self, hidden: NDArray[np.float32]) -> Tensor:
        """Return what stands at real tokens ``[T, D]`` with zeros at padding ``[B, S, D]``."""
        found = torch.from_numpy(hidden)
        if self.places is not None:
            found = found.new_zeros(self.shape[0] * self.shape[1], found.shape[1]).index_copy_(
                0, torch.from_numpy(self.places), found
            )
        return found.view(*self.shape, found.shape[1])


class State:
    """What is known of an encoder: its weights when it was last called, and their engine if there can be one."""

    def __init__(self) -> None:
        # one pair, for threads whose calls meet while weights change
        self._known: tuple[Fingerprint | None, Snapshot | None] = (None, None)

    @property
    def snapshot(self) -> Snapshot | None:
        return self._known[1]

    def update(self, encoder: nn.Module, original: Callable[..., Any]) -> Snapshot | None:
        """Return the engine of an encoder's weights, made anew unless they are the last ones; None: still none of them.

        Where there can be none, a `BertieError` says the reason, without a subject's name.
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
    """Return what ``original``, the bound forward of an encoder, returns, with zeros at padding where it can be so."""
    rows = None if _is_learning(encoder) or is_intercepted() else _rectangle(encoder.config, args, arguments)
    if rows is None:
        return original(*args, **arguments)
    snapshot = None
    with suppress(BertieError):
        snapshot = STATES.setdefault(encoder, State()).update(encoder, original)
    if snapshot is None:
        return original(*args, **arguments)
    try:
        hidden = snapshot.engine.with_threads(torch.get_num_threads()).hidden_states(rows)
    except InputError:  # an id or a length that the original refuses in its own words
        return original(*args, **arguments)
    states = rows.padded(hidden)
    pooler = getattr(encoder, "pooler", None)
    pooled = {} if pooler is None else {"pooler_output": pooler(states)}
    return snapshot.output(last_hidden_state=states, **pooled)


def _is_learning(encoder: nn.Module) -> bool:
    """Whether dropout acts, or gradients may be asked for."""
    modules = modules_in(encoder)
    if any(module.training for module in modules if type(module) is not nn.ModuleList):  # a new one counts as training
        return True
    return torch.is_grad_enabled() and any(weight.requires_grad for weight in weights_in(modules))


def _rectangle(config: Any, args: tuple[Any, ...], arguments: dict[str, Any]) -> Rectangle | None:
    """Return the rows that a call asks last hidden states of; None: it asks for something else."""
    given = {**dict(zip(_INPUTS, args, strict=False)), **arguments}
    if len(args) > 2 or len(given) < len(args) + len(arguments) or torch.is_autocast_enabled("cpu"):
        return None
    ids, mask, types = (given.pop(name, None) for name in _INPUTS)
    asked = {**{name: getattr(config, name, None) for name in _IDLE}, **given}
    if any(value is not None and value not in _IDLE.get(name, ()) for name, value in asked.items()):
        return None
    if ids is None or not all(each is None or _is_plain(each, ids.shape) for each in (ids, mask, types)):
        return None
    return _packed(ids.numpy(), None if mask is None else mask.numpy(), None if types is None else types.numpy())


def _is_plain(given: Any, shape: tuple[int, ...]) -> bool:
    """Whether it is a matrix of numbers on the CPU."""
    return (
        type(given) is Tensor
        and given.shape == shape
        and given.dim() == 2
        and given.device.type == "cpu"
        and given.dtype in (torch.int64, torch.int32, torch.bool)
    )


def _packed(ids: NDArray[Any], mask: NDArray[Any] | None, types: NDArray[Any] | None) -> Rectangle | None:
    """Return a rectangle whose padding stands at the end of rows, the place from which the original counts them."""
    width, wide = ids.shape[1], lambda numbers: numbers.reshape(-1).astype(np.int64, copy=False)
    if not ids.size:
        return None
    if mask is None or mask.all():
        return Rectangle(ids.shape, wide(ids), None if types is None else wide(types), [width] * len(ids), None)
    lengths = (mask != 0).sum(1)
    if not np.array_equal(mask, np.arange(width) < lengths[:, None]) or not lengths.all():
        return None
    places = np.flatnonzero(mask)
    taken = None if types is None else wide(types)[places]
    return Rectangle(ids.shape, wide(ids)[places], taken, lengths.tolist(), places)
