"""Embeddings in fewer bytes: one byte or one bit per dimension. Letters: N vectors, D dimensions."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bertie.errors import InputError, InputTypeError, spelled
from bertie.progress import say_once
from bertie.tasks.arrays import Array
from bertie.tokenization.arguments import one_of

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
PRECISIONS = get_args(Precision)
# with fewer vectors the range of each dimension is a guess
MIN_CALIBRATION = 100


def quantize_embeddings(
    embeddings: ArrayLike,
    precision: Precision | str,
    ranges: ArrayLike | None = None,
    calibration_embeddings: ArrayLike | None = None,
) -> NDArray[Any]:
    """Quantize embeddings to the same values as ``sentence_transformers.util.quantize_embeddings``.

    Args:
        embeddings: floats ``[N, D]``, or ``[D]``.
        precision: "int8" or "uint8" divides each dimension's range into 256 equal steps; "binary" or "ubinary" keeps
            whether each number is above 0, eight of them packed into an int8 or a uint8.
        ranges: ``[2, D]``, the minimum and maximum of each dimension; None: those of ``calibration_embeddings``.
        calibration_embeddings: ``[N, D]``, embeddings of similar texts; None: ``embeddings``.

    Returns:
        ``[N, D]`` float32, int8 or uint8; with bits ``[N, ceil(D / 8)]``.

    Raises:
        InputError: there is no such precision, ``ranges`` has another shape, or is needed for a single embedding.
        InputTypeError: the embeddings are integers already.
    """
    one_of(spelled("precision"), precision, PRECISIONS)
    vectors = np.asarray(embeddings)
    if not np.issubdtype(vectors.dtype, np.floating):
        raise InputTypeError(f"The embeddings are {vectors.dtype}; quantize_embeddings takes floating-point ones.")
    if precision == "float32":
        return vectors.astype(np.float32)
    if precision.endswith("binary"):
        bits = np.packbits(vectors > 0, axis=-1)
        return bits if precision == "ubinary" else (bits ^ np.uint8(128)).view(np.int8)
    if not len(vectors):
        return vectors.astype(precision)
    low, high = _ranges(vectors, ranges, calibration_embeddings)
    steps = (high - low) / 255
    codes = np.clip(np.floor((vectors - low) / np.where(steps == 0, 1, steps)), 0, 255)
    return codes.astype(np.uint8) if precision == "uint8" else (codes - 128).astype(np.int8)


def _ranges(vectors: Array, ranges: ArrayLike | None, calibration: ArrayLike | None) -> Array:
    """Return the minimum and maximum of each dimension, ``[2, D]``."""
    if ranges is None:
        source = vectors if calibration is None else np.asarray(calibration)
        if source.ndim < 2 or len(source) < 2:
            raise InputError("A single embedding has no ranges; give ranges, or calibration_embeddings of other texts.")
        if len(source) < MIN_CALIBRATION:
            say_once(f"The ranges of {len(source)} embeddings are a guess; give calibration_embeddings of more texts.")
        ranges = np.stack([source.min(axis=0), source.max(axis=0)])
    found = np.asarray(ranges, np.float32)
    if found.shape != (2, vectors.shape[-1]):
        raise InputError(f"ranges has the shape {list(found.shape)}; it must be [2, {vectors.shape[-1]}].")
    return found
