"""The fingerprint of a run, so that it is resumed only with the same data, model and settings."""

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
PROCESSES = "number of processes"  # may change: see `describe_process_change`
# names in older runs → today's
_NAMES = {"the rows to tune on": "the rows of dev"}


def fingerprint(
    model: nn.Module, sampler: Sampler, settings: Settings, total: int, world: int, data: Mapping[str, Any]
) -> Fingerprint:
    """Return what must be equal for a run to be resumed; ``data`` is the caller's part of it, as JSON values."""
    learned = trainable(model)
    shapes = repr([(name, tuple(each.shape)) for name, each in learned.items()])
    first, sizes = sampler.examples(0), sampler.sizes
    # looked-up sizes are too many to be read for this; the caller's ``data`` identifies them
    lengths = sizes[first] if isinstance(sizes, LookedUpSizes) else sizes
    return {
        "examples": len(sampler.sizes),
        "the lengths of the examples": digest([np.asarray(lengths, dtype=np.int64).tobytes()]),
        "the parameters that learn": digest([shapes.encode()]),
        # saved states do not have them
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
    """Refuse to resume a run in ``folder`` that was started differently."""
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
    is_extensible = now["settings"]["schedule"] == "constant" and before.get("warmup") == now["warmup"]
    if before.get("total") != now["total"] and not is_extensible:
        raise InputError(
            f"The run in {folder!r} cannot be resumed with {now['total']} steps instead of {before.get('total')}: its "
            "learning rates depend on its length. Give the same length; a run can only be extended if it was started "
            f"with {spelled('schedule', 'constant')} and {spelled('warmup')} in steps."
        )


def describe_process_change(before: Fingerprint, now: Fingerprint) -> str | None:
    """Return a warning if a run continues with another number of processes."""
    old, new = before.get(PROCESSES), now[PROCESSES]
    if old == new:
        return None
    return (
        f"The run continues with {counted(new, 'process', 'processes')} instead of {old}: the examples of each step "
        "are the same, but dropout and rounding are not, so the result differs from that of an uninterrupted run."
    )


def _flat(found: Fingerprint) -> dict[str, dict[str, Any]]:
    settings = found.get("settings", {})
    data = {_NAMES.get(name, name): value for name, value in found.get("data", {}).items()}
    rest = {name: value for name, value in found.items() if name not in ("settings", "data", "total", "warmup")}
    return {"settings": settings, "rest": {**data, **rest}}


def digest(parts: Iterable[bytes | memoryview]) -> str:
    """Return a digest of these bytes, with a prefix by which error messages leave it out."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return _DIGEST + found.hexdigest()[:16]


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    return digest(bytes_of(tensor) for tensor in tensors.values())
