"""State dicts: a pytorch_model.bin, checked before torch reads plain tensors from it, or one in memory."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from bertie.checkpoints.tensors import (
    LARGEST_HEADER,
    MOST_TENSORS,
    TensorInfo,
    array_of,
    check_count,
    check_name,
    dtype_name,
)
from bertie.errors import CheckpointError, InputTypeError
from bertie.extras import need
from bertie.files import first_bytes

if TYPE_CHECKING:
    import torch

# the first bytes of files that torch.save did not write
_FOREIGN = {
    b"7z\xbc\xaf": "a 7z archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file (Keras)",
    b"\x1f\x8b": "a gzip archive",
    b"\x78": "a zlib-compressed pickle (joblib)",
}
_ZIP = b"PK\x03\x04"
# before torch.save wrote zip archives, its files began with this pickled magic number
_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_CONVERT = (
    "; load it with the program that wrote it and save its state dict with safetensors.torch.save_file "
    "as model.safetensors"
)


class StateDict:
    """A state dict as one file of weights."""

    def __init__(self, path: Path, tensors: Mapping[str, "torch.Tensor"]) -> None:
        self.path, self._tensors = path, tensors
        self.infos = {
            check_name(path, name): TensorInfo(tuple(each.shape), dtype_name(each.dtype), path)
            for name, each in tensors.items()
        }

    def array(self, name: str) -> NDArray[Any]:
        return array_of(self.tensor(name).cpu())

    def tensor(self, name: str) -> "torch.Tensor":
        return self._tensors[name]


class PickleFile(StateDict):
    """A checked .bin file; its tensors are memory-mapped unless PyTorch before 1.6 wrote it."""

    def __init__(self, path: Path) -> None:
        mapped = _check_unopened(path)
        torch = need("torch", "torch", f"Reading {str(path)!r}")
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # damaged pickles raise errors of almost any class
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise CheckpointError(
                f"{str(path)!r} is damaged or holds more than tensors ({reason}){_CONVERT}"
            ) from error
        if not isinstance(loaded, dict):
            raise CheckpointError(f"{str(path)!r} holds a {type(loaded).__name__} where a state dict belongs{_CONVERT}")
        check_count(path, len(loaded))
        super().__init__(path, {check_name(path, name): _checked(path, name, each) for name, each in loaded.items()})


class GivenTensors(StateDict):
    """A state dict in memory; tensors are returned as copies, so that a model shares no memory with it."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        import torch

        path = Path("state_dict")  # what messages call it
        for name, tensor in tensors.items():
            if not isinstance(tensor, torch.Tensor):
                kind = type(tensor).__name__
                raise InputTypeError(f"state_dict[{check_name(path, name)!r}] is of type {kind}; give a tensor.")
        super().__init__(path, dict(tensors))

    def tensor(self, name: str) -> "torch.Tensor":
        return self._tensors[name].detach().clone()


def _check_unopened(path: Path) -> bool:
    """Return whether the file is a zip archive, which can be memory-mapped; refuse files not from torch.save."""
    start = first_bytes(path)
    if start.startswith(_ZIP):
        _check_zip(path)
        return True
    if not start.startswith(_OLD):
        kinds = (kind for first, kind in _FOREIGN.items() if start.startswith(first))
        kind = next(kinds, "a pickle of another program, or damaged" if start else "empty")
        raise CheckpointError(f"{str(path)!r} is not a file of torch.save but {kind}{_CONVERT}")
    return False


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{str(path)!r} is truncated or damaged ({error}); fetch it again") from error
    names = [entry.filename.partition("/")[2] for entry in entries]
    pickles = [entry for entry, name in zip(entries, names, strict=True) if name == "data.pkl"]
    if len(pickles) != 1 or "constants.pkl" in names:
        kind = "TorchScript code" if pickles else "some other zip archive"
        raise CheckpointError(f"{str(path)!r} is {kind}, not a state dict{_CONVERT}")
    # torch.save never compresses, so an archive that unpacks to more than its size is a zip bomb
    unpacked = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or unpacked > path.stat().st_size:
        raise CheckpointError(f"{str(path)!r} is compressed ({unpacked} bytes unpacked), which torch.save never does")
    if len(entries) > MOST_TENSORS + 100 or pickles[0].file_size > LARGEST_HEADER:
        raise CheckpointError(f"{str(path)!r} has {len(entries)} parts; at most {MOST_TENSORS} tensors are read")


def _checked(path: Path, name: str, value: object) -> "torch.Tensor":
    import torch

    if not isinstance(value, torch.Tensor):
        raise CheckpointError(
            f"{str(path)!r} holds a {type(value).__name__} under {name!r} where a tensor belongs"
            f"{' (is the state dict below that key?)' if isinstance(value, dict) else ''}{_CONVERT}"
        )
    # a stride of 0 makes a tensor of any size from one element
    plain = (
        not value.is_nested and value.layout == torch.strided and not value.is_quantized and value.device.type == "cpu"
    )
    if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise CheckpointError(f"{str(path)!r}: the tensor {name!r} is not a plain dense tensor{_CONVERT}")
    return value.detach()
