"""int8 in a model's files: its declaration in config.json, and the scales stored with an int8 weight."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bertie.checkpoints.folder import Checkpoint
from bertie.checkpoints.names import canonical
from bertie.errors import CheckpointError

METHOD = "bertie-int8"
VERSION = 1
# transformers warns about an unknown "quant_method" but then uses the int8 values as weights, which gives noise; it
# refuses a declaration without that key
KEY, OTHERS_KEY = "method", "quant_method"
# layers whose inputs are quantised to more than 8 bits: canonical name → bits
INPUT_BITS = "input_bits"
# the scales of a layer with an int8 weight; the first is required
SCALES = ("weight_scale", "input_scale")


def check_declaration(declared: dict[str, Any] | None, source: str) -> None:
    """Raise CheckpointError if a config declares a quantisation that is not supported."""
    if declared is None:
        return
    method, version = declared.get(KEY, declared.get(OTHERS_KEY)), declared.get("version")
    if method != METHOD:
        raise CheckpointError(
            f"{source!r} is quantised by {method!r:.60}, which bertie does not read; it reads {METHOD!r}: quantise the "
            "model's floating-point version with bertie.quantize"
        )
    if version != VERSION:
        raise CheckpointError(
            f"{source!r} is quantised by version {version!r:.60} of {METHOD!r}; this bertie reads version {VERSION}: "
            "use a newer one, or quantise the model again"
        )
    bits = input_bits(declared)
    if not isinstance(bits, dict) or not all(type(each) is int and each in (8, 16) for each in bits.values()):
        raise CheckpointError(
            f"{source!r} declares the {INPUT_BITS} {bits!r:.60}; this bertie reads layer names, each with 8 or 16: "
            "use a newer one, or quantise the model again"
        )


def input_bits(declared: dict[str, Any] | None) -> dict[str, int]:
    """Return canonical layer name → bits of its quantised inputs; layers that are not listed use 8."""
    return (declared or {}).get(INPUT_BITS, {})


def check_scale(path: Path, module: str, stored: Collection[str]) -> None:
    """Raise CheckpointError if no scale is stored for a module's int8 weight."""
    if SCALES[0] not in stored:
        raise CheckpointError(
            f"{str(path)!r} has int8 values in '{module}.weight', but no '{module}.{SCALES[0]}'; "
            "quantise the model again"
        )


def integers_in(
    checkpoint: Checkpoint, shapes: dict[str, tuple[int, ...]], aliases: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the parameters stored as int8, and add the scales stored with them to ``shapes``."""
    stored = {canonical(name): info for name, info in checkpoint.infos.items()}
    integers = [name for name in shapes if (info := stored.get(canonical(name))) and info.dtype == "int8"]
    for weight in integers:
        modules = [name.removesuffix(".weight") for name in (weight, *aliases.get(weight, ()))]
        names = {f"{module}.{leaf}": leaf for module in modules for leaf in SCALES}
        scales = {name: stored[canonical(name)].shape for name in names if canonical(name) in stored}
        check_scale(checkpoint.path, modules[0], {names[name] for name in scales})
        shapes |= scales
    return integers
