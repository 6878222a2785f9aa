"""How config.json declares that a checkpoint holds 8-bit integers (decision 25)."""

from typing import Any

from bertie.errors import CheckpointError

METHOD = "bertie-int8"
VERSION = 1
# transformers warns of a "quant_method" that it does not know and then reads 8-bit numbers as weights, which gives
# noise; a declaration without that key it refuses
KEY, OTHERS_KEY = "method", "quant_method"


def check_declaration(declared: dict[str, Any] | None, source: str) -> None:
    """Refuse a config that declares a quantisation which is not read here.

    Raises:
        CheckpointError: naming what it declares.
    """
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
