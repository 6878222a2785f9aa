"""No NaN ever leaves a pipeline: a cheap check of every output and, if it fails, the layer and text it came from."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from bertie.checkpoints.tensors import all_finite
from bertie.errors import BertieError
from bertie.packing import Packed


def summed(output: Tensor) -> Tensor:
    """Return a sum that is finite only if all of ``output`` is, computed where it lies, without waiting for it."""
    return output.sum()


def refuse_non_finite(output: Tensor, total: Tensor, model: Any, packed: Packed, numbers: Sequence[int]) -> None:
    """Raise an error that names text and layer if ``output`` holds NaN or infinity (bad input 27).

    Args:
        output: what the task got from the model for the batch.
        total: what `summed` gave; asked for after the answers were fetched, it costs a device no wait.
        model: the model that computed it.
        packed: the batch.
        numbers: the number of each text in the caller's list.

    Raises:
        BertieError: there is such a value.
    """
    if isfinite(float(total)) or all_finite(output):
        return
    place, token = _origin(model, packed)
    text = int(torch.searchsorted(packed.cu_seqlens.cpu(), torch.tensor(token), right=True)) - 1
    dtype = str(model.dtype).removeprefix("torch.")
    advice = "the weights are damaged" if dtype == "float32" else "use dtype='float32', or the weights are damaged"
    raise BertieError(
        f"The model gives NaN or infinite numbers: first in {place}, for text {numbers[text]} (computed in {dtype}); "
        f"{advice}."
    )


def _origin(model: Any, packed: Packed) -> tuple[str, int]:
    """Return the first part whose output is not finite, and the first such token, by computing the batch again."""
    states = getattr(model, "bert", model)(packed, output_hidden_states=True, return_dict=True).hidden_states
    for index, hidden in enumerate(states):
        wrong = (~hidden.isfinite()).any(dim=1).nonzero()
        if len(wrong):
            return (f"encoder layer {index - 1}" if index else "the embeddings"), int(wrong[0])
    return "the head", 0
