"""What is known of a stored tensor before it is read, and the limits that a file of tensors must keep."""

from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from bertie.errors import CheckpointError

# a BERT-large has 400 tensors with names of 60 characters and a header of 50 kB; these caps are met by no real model
MOST_TENSORS = 100_000
LONGEST_NAME = 512
LARGEST_HEADER = 32 * 2**20
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


class TensorInfo(NamedTuple):
    """Shape and element type of a stored tensor, and the file it lies in."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    file: Path

    @property
    def elements(self) -> int:
        """Number of elements."""
        product = 1
        for size in self.shape:
            product *= size
        return product


class TensorFile(Protocol):
    """One opened file of tensors: what is in it, and each tensor on demand."""

    path: Path
    infos: dict[str, TensorInfo]

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor of the file, memory-mapped where the format allows."""
        ...


def check_name(path: Path, name: object) -> str:
    """Return ``name`` if it can be a tensor's name.

    Raises:
        CheckpointError: it is no text or too long.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise CheckpointError(
            f"{str(path)!r} has a tensor name that is empty, no text or longer than {LONGEST_NAME} characters: "
            f"{repr(name)[:60]}; this is no model's file"
        )
    return name


def check_count(path: Path, count: int) -> None:
    """Raise CheckpointError if a file claims more tensors than any model has."""
    if count > MOST_TENSORS:
        raise CheckpointError(f"{str(path)!r} has {count} tensors; at most {MOST_TENSORS} are read")


def all_finite(tensor: torch.Tensor) -> bool:
    """Whether no number is NaN or infinite."""
    # a sum is 15 times as fast as isfinite, and NaN and infinity survive it; finite numbers may overflow it
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
