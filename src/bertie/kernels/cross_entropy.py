"""The cross-entropy of rows of logits, and its gradient."""

from ctypes import byref

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels.arrays import Floats, Numbers, check_float32, check_numbers, empty
from bertie.kernels.library import CrossEntropyStruct, InstructionSet

Labels = NDArray[np.int64]


def cross_entropy(
    logits: Numbers, labels: Labels, instruction_set: InstructionSet, *, threads: int
) -> tuple[Floats, Floats]:
    """Return each row's loss and log-sum-exp, ``[M]``, of ``logits [M, C]`` in float32 or bfloat16.

    The loss of a row whose label is -100 is 0.
    """
    losses, lse = empty(len(logits)), empty(len(logits))
    if instruction_set.cross_entropy(byref(_struct(logits, labels, losses, lse)), threads):
        raise InputError(f"Labels are {labels.min()} to {labels.max()}, but there are {logits.shape[1]} classes.")
    return losses, lse


def cross_entropy_backward(
    dlosses: Floats, logits: Numbers, labels: Labels, lse: Floats, instruction_set: InstructionSet, *, threads: int
) -> Numbers:
    """Return the gradient of ``logits``, in their dtype, given those of the losses that `cross_entropy` returned."""
    dlosses, dlogits = np.ascontiguousarray(dlosses), empty(*logits.shape, dtype=logits.dtype)
    struct = _struct(logits, labels, dlosses, lse)
    instruction_set.cross_entropy_backward(byref(struct), dlosses.ctypes.data, dlogits.ctypes.data, threads)
    return dlogits


def _struct(logits: Numbers, labels: Labels, losses: Floats, lse: Floats) -> CrossEntropyStruct:
    rows, classes = logits.shape
    is_half = check_numbers((rows, classes), logits)
    check_float32((rows,), losses, lse)
    if (
        labels.dtype != np.int64
        or labels.shape != (rows,)
        or not (labels.flags.c_contiguous and logits.flags.c_contiguous)
    ):
        raise InputError(
            f"Labels are {labels.dtype} {[*labels.shape]}; they must be int64 {[rows]}, and contiguous like the logits."
        )
    addresses = (each.ctypes.data for each in (logits, labels, losses, lse))
    return CrossEntropyStruct(*addresses, rows, classes, is_half)
