"""CPU tensors as arrays for the kernels, and back, without a copy; bfloat16 as uint16."""

from typing import Any

from bertie.extras import need_torch

need_torch(__name__)

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def as_array(x: Tensor) -> NDArray[Any]:
    """Return a float32 or bfloat16 tensor as an array."""
    x = x.detach()
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def parameter_as_array(x: Tensor) -> NDArray[Any]:
    """Return a float32 parameter as an array."""
    # x.numpy() would prevent PyTorch from ever resizing the storage to 0, as it does for sharded models
    return np.from_dlpack(x.detach())


def as_tensor(x: NDArray[Any]) -> Tensor:
    """Return an array as a tensor: the inverse of `as_array`."""
    tensor = torch.from_numpy(x)
    return tensor.view(torch.bfloat16) if x.dtype == np.uint16 else tensor
