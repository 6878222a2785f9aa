"""Tensors on the CPU as arrays for the kernels, and back, without a copy; bfloat16 as 16-bit integers."""

from typing import Any

from bertie.extras import need_torch

need_torch(__name__)

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def as_array(x: Tensor) -> NDArray[Any]:
    """Return the numbers of a float32 or bfloat16 tensor."""
    x = x.detach()
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def parameter_as_array(x: Tensor) -> NDArray[Any]:
    """Return the numbers of a float32 parameter."""
    # x.numpy() would keep PyTorch from ever freeing their memory, which it does where a model is in shards
    return np.from_dlpack(x.detach())


def as_tensor(x: NDArray[Any]) -> Tensor:
    """Return the tensor of an array as `as_array` gives them."""
    made = torch.from_numpy(x)
    return made.view(torch.bfloat16) if x.dtype == np.uint16 else made
