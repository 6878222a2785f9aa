"""A state dict that a program already has, read as a file of weights is."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from bertie.checkpoints.folder import Checkpoint
from bertie.checkpoints.tensors import TensorInfo, array_of, check_name, dtype_name
from bertie.errors import InputTypeError

if TYPE_CHECKING:
    import torch

_PLACE = Path("state_dict")  # what messages call it


class StateDict:
    """The tensors of a mapping; each is given out as a copy, so that the model shares no memory with it."""

    path = _PLACE

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        import torch

        for name, tensor in tensors.items():
            if not isinstance(tensor, torch.Tensor):
                kind = type(tensor).__name__
                raise InputTypeError(f"state_dict[{check_name(_PLACE, name)!r}] is of type {kind}; give a tensor.")
        self._tensors = dict(tensors)
        self.infos = {
            name: TensorInfo(tuple(each.shape), dtype_name(each.dtype), _PLACE) for name, each in tensors.items()
        }

    def array(self, name: str) -> NDArray[Any]:
        """Return a copy of a tensor's numbers."""
        return array_of(self.tensor(name).cpu())

    def tensor(self, name: str) -> "torch.Tensor":
        """Return a copy of a tensor."""
        return self._tensors[name].detach().clone()


def checkpoint_of(tensors: Mapping[str, Any]) -> Checkpoint:
    """Return a state dict as a `Checkpoint`.

    Raises:
        InputTypeError: a value is no tensor.
        CheckpointError: a name is none that a tensor can have.
    """
    file = StateDict(tensors)
    return Checkpoint(_PLACE, file.infos, {_PLACE: file})
