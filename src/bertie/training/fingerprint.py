"""What a run was started with, so that it is resumed only with the same data, model, settings and processes."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from bertie.checkpoints.safetensors_file import bytes_of
from bertie.errors import InputError, counted, spelled
from bertie.settings import CHANGEABLE_ON_RESUME, Settings
from bertie.training.param_groups import trainable
from bertie.training.sampler import LookedUpSizes, Sampler

Fingerprint = dict[str, Any]
_DIGEST = "sha256:"
PROCESSES = "number of processes"  # may change: see `goes_on_with`
# what older runs call these
_NAMES = {"the rows to tune on": "the rows of dev"}


def fingerprint(
    model: nn.Module, sampler: Sampler, settings: Settings, total: int, world: int, data: Mapping[str, Any]
) -> Fingerprint:
    """Return what must be equal for two runs to be one; ``data`` is what the caller knows of it, in JSON's kinds."""
    learned = trainable(model)
    shapes = repr([(name, tuple(each.shape)) for name, each in learned.items()])
    first, sizes = sampler.examples(0), sampler.sizes
    # those that are looked up are too many to be read for this: the caller's data tells them from others
    lengths = sizes[first] if isinstance(sizes, LookedUpSizes) else sizes
    return {
        "examples": len(sampler.sizes),
        "the lengths of the examples": digest([np.asarray(lengths, dtype=np.int64).tobytes()]),
        "the parameters that learn": digest([shapes.encode()]),
        # these are in no state
        "the values of parameters that do not learn": digest_of_tensors(
            {name: each for name, each in model.named_parameters() if name not in learned}
        ),
        PROCESSES: world,
        "the examples of a step (which versions of NumPy draw otherwise)": digest(
            [np.asarray(first, dtype=np.int64).tobytes()]
        ),
        "settings": {name: value for name, value in settings.to_dict().items() if name not in CHANGEABLE_ON_RESUME},
        "total": total,
        "warmup": settings.warmup_steps(total),
        "data": dict(data),
    }


def refuse_other(before: Fingerprint, now: Fingerprint, folder: str) -> None:
    """Refuse to resume a run in ``folder`` that was started otherwise."""
    old, new = _flat(before), _flat(now)
    for kind, free in (("settings", ("total", "epochs", "steps", "warmup")), ("rest", (PROCESSES,))):
        for name in dict.fromkeys((*new[kind], *old[kind])):
            values = old[kind].get(name), new[kind].get(name)
            if name not in free and values[0] != values[1]:
                digests = any(isinstance(value, str) and value.startswith(_DIGEST) for value in values)
                what = f"{name} differ" if digests else f"{name} was {values[0]!r} and is now {values[1]!r}"
                raise InputError(
                    f"The run in {folder!r} cannot be resumed: {what}; give what it was started with, or start a new "
                    "run in another folder."
                )
    can_be_longer = now["settings"]["schedule"] == "constant" and before.get("warmup") == now["warmup"]
    if before.get("total") != now["total"] and not can_be_longer:
        raise InputError(
            f"The run in {folder!r} cannot be resumed with {now['total']} steps instead of {before.get('total')}: its "
            "learning rates depend on its length. Give the same length; a run that is to be made longer needs "
            f"{spelled('schedule', 'constant')} from its start, and {spelled('warmup')} in steps."
        )


def goes_on_with(before: Fingerprint, now: Fingerprint) -> str | None:
    """Return a sentence if a run goes on with another number of processes."""
    old, new = before.get(PROCESSES), now[PROCESSES]
    if old == new:
        return None
    return (
        f"The run goes on with {counted(new, 'process', 'processes')} instead of {old}: the examples of each step are "
        "the same, but dropout and rounding are not, so that the result is no longer that of a run without a stop."
    )


def _flat(found: Fingerprint) -> dict[str, dict[str, Any]]:
    settings = found.get("settings", {})
    data = {_NAMES.get(name, name): value for name, value in found.get("data", {}).items()}
    rest = {name: value for name, value in found.items() if name not in ("settings", "data", "total", "warmup")}
    return {"settings": settings, "rest": {**data, **rest}}


def digest(parts: Iterable[bytes | memoryview]) -> str:
    """Return a digest of these bytes, which a refusal does not show."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return _DIGEST + found.hexdigest()[:16]


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    return digest(bytes_of(tensor) for tensor in tensors.values())
