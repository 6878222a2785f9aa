"""int8 in a model's files: how config.json declares it, and what is stored beside a weight of 8-bit integers."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bertie.checkpoints.folder import Checkpoint
from bertie.checkpoints.names import canonical
from bertie.errors import CheckpointError

METHOD = "bertie-int8"
VERSION = 1
# transformers warns of a "quant_method" that it does not know and then reads 8-bit numbers as weights, which gives
# noise; a declaration without that key it refuses
KEY, OTHERS_KEY = "method", "quant_method"
# of layers whose inputs are rounded to more than 8 bits: how many, by the canonical name of each
INPUT_BITS = "input_bits"
# what a layer whose weight is of 8-bit integers may have beside it; the first it must have
SCALES = ("weight_scale", "input_scale")


def check_declaration(declared: dict[str, Any] | None, source: str) -> None:
    """Refuse a config that declares a quantisation which is not read here."""
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
            f"{source!r} declares the {INPUT_BITS} {bits!r:.60}; this bertie reads names of layers with 8 or 16 each: "
            "use a newer one, or quantise the model again"
        )


def input_bits(declared: dict[str, Any] | None) -> dict[str, int]:
    """Return to how many bits the inputs of layers are rounded, by canonical name; to 8 where it is not said."""
    return (declared or {}).get(INPUT_BITS, {})


def check_scale(path: Path, module: str, stored: Collection[str]) -> None:
    """Refuse a module with an int8 weight of which no scale is stored."""
    if SCALES[0] not in stored:
        raise CheckpointError(
            f"{str(path)!r} has int8 numbers in '{module}.weight', but no '{module}.{SCALES[0]}'; "
            "quantise the model again"
        )


def integers_in(
    checkpoint: Checkpoint, shapes: dict[str, tuple[int, ...]], aliases: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the parameters stored as 8-bit integers, and put the scales stored beside them among the ``shapes``."""
    stored = {canonical(name): info for name, info in checkpoint.infos.items()}
    integers = [name for name in shapes if (info := stored.get(canonical(name))) and info.dtype == "int8"]
    for weight in integers:
        modules = [name.removesuffix(".weight") for name in (weight, *aliases.get(weight, ()))]
        names = {f"{module}.{leaf}": leaf for module in modules for leaf in SCALES}
        scales = {name: stored[canonical(name)].shape for name in names if canonical(name) in stored}
        check_scale(checkpoint.path, modules[0], {names[name] for name in scales})
        shapes |= scales
    return integers
