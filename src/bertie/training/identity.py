"""What a run was started with, so that it is resumed only with the same data, model, settings and processes."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from bertie.errors import InputError
from bertie.training.groups import trainable
from bertie.training.order import Order
from bertie.training.settings import FREE, Settings

Identity = dict[str, Any]


def identity(
    model: nn.Module, order: Order, settings: Settings, total: int, world: int, data: Mapping[str, Any]
) -> Identity:
    """Return what must be equal for two runs to be one; ``data`` is what the caller knows of it, in JSON's kinds."""
    shapes = repr([(name, tuple(each.shape)) for name, each in trainable(model).items()])
    first = order.examples(0)
    return {
        "examples": len(order.sizes),
        "lengths of the examples": _digest(order.sizes.tobytes()),
        "parameters that learn": _digest(shapes.encode()),
        "number of processes": world,
        "order of the examples (by another version of NumPy)": _digest(np.asarray(first, dtype=np.int64).tobytes()),
        "settings": {name: value for name, value in settings.to_dict().items() if name not in FREE},
        "total": total,
        "warmup": settings.warmup_steps(total),
        "data": dict(data),
    }


def refuse_other(before: Identity, now: Identity, folder: str) -> None:
    """Refuse to resume a run in ``folder`` that was started otherwise.

    Raises:
        InputError: naming the first thing that differs.
    """
    old, new = _flat(before), _flat(now)
    length = ("total", "epochs", "steps", "warmup")
    for name in dict.fromkeys((*new["settings"], *old["settings"])):
        if name not in length and old["settings"].get(name) != new["settings"].get(name):
            _refuse(folder, name, old["settings"].get(name), new["settings"].get(name))
    for name in dict.fromkeys((*new["rest"], *old["rest"])):
        if old["rest"].get(name) != new["rest"].get(name):
            _refuse(folder, name, old["rest"].get(name), new["rest"].get(name))
    if before.get("total") != now["total"] and not _can_be_longer(before, now):
        raise InputError(
            f"The run in {folder!r} cannot be resumed with {now['total']} steps instead of {before.get('total')}: its "
            "learning rates depend on its length. Give the same epochs, or use schedule='constant' (with warmup in "
            "steps) for runs that are to be made longer."
        )


def _refuse(folder: str, name: str, before: Any, now: Any) -> None:
    digests = name not in ("examples", "number of processes") and isinstance(before, str) and len(before) == _LENGTH
    what = f"{name} differs" if digests else f"{name} was {before!r} and is now {now!r}"
    raise InputError(
        f"The run in {folder!r} cannot be resumed: {what}; give what it was started with, or start a new run in "
        "another folder."
    )


def _flat(found: Identity) -> dict[str, dict[str, Any]]:
    settings, data = found.get("settings", {}), found.get("data", {})
    rest = {name: value for name, value in found.items() if name not in ("settings", "data", "total", "warmup")}
    return {"settings": settings, "rest": {**rest, **data}}


def _can_be_longer(before: Identity, now: Identity) -> bool:
    return now["settings"]["schedule"] == "constant" and before.get("warmup") == now["warmup"]


_LENGTH = 16


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_LENGTH]
