"""A model folder's weights: which of its files are read, shards put together, and each tensor on demand."""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.names import unwrapped
from bertie.checkpoints.pickle_file import PickleFile
from bertie.checkpoints.safetensors_file import SafetensorsFile
from bertie.checkpoints.tensors import TensorFile, TensorInfo, check_float, float32_of
from bertie.errors import CheckpointError
from bertie.files import read_json
from bertie.hub import listing, member
from bertie.layouts import recognised
from bertie.progress import say_once
from bertie.rules import Rule

if TYPE_CHECKING:
    import torch

SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"
# bertie's weights under another name than the requested one
_OURS = re.compile(r"(pytorch_)?model([.-][^/]*)?\.(safetensors|bin|index\.json)")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a model folder: names, shapes and types at once, the numbers on demand and memory-mapped."""

    path: Path
    infos: dict[str, TensorInfo]
    _files: dict[Path, TensorFile]
    _stored: Mapping[str, str] = field(default_factory=dict)  # names of `infos` that are others in the file

    def array(self, name: str) -> NDArray[Any]:
        """Return a stored tensor by its name in `infos`: a view of the file's numbers, to be written to without harm.

        Where NumPy lacks the type these are the bits: bfloat16 comes as uint16, float8 as uint8.
        """
        return self._file_of(name).array(self._stored.get(name, name))

    def float32(self, name: str) -> NDArray[np.float32]:
        """Return a stored tensor's numbers in float32: a view as `array` if they are stored so, else a copy.

        Raises:
            CheckpointError: they are no floating-point numbers.
        """
        info = self.infos[name]
        check_float(name, info)
        return float32_of(self.array(name), info.dtype)

    def tensor(self, name: str) -> "torch.Tensor":
        """Return a stored tensor by its name in `infos`, in PyTorch's kind."""
        return self._file_of(name).tensor(self._stored.get(name, name))

    def _file_of(self, name: str) -> TensorFile:
        return self._files[self.infos[name].file]

    def unwrapped(self, known: Collection[str] = ()) -> "Checkpoint":
        """Return the checkpoint without what wrappers put before its names, and say so; ``known`` names stay.

        Raises:
            CheckpointError: two tensors have one name then.
        """
        stored = dict(unwrapped(self.infos))
        changed = [name for plain, name in stored.items() if plain != name]
        if not changed or any(name in known for name in changed):
            return self
        if len(stored) < len(self.infos):
            twice = next(name for name in self.infos if name not in stored.values())
            raise CheckpointError(
                f"{str(self.path)!r} has the tensor {twice!r} a second time, within a wrapper; remove the wrong one"
            )
        say_once(
            f"{str(self.path)!r} holds a model within a wrapper: {changed[0]!r} is read without it, and so are others"
        )
        return replace(self, infos={plain: self.infos[name] for plain, name in stored.items()}, _stored=stored)


def weight_files(safetensors: bool, variant: str | None = None) -> list[str]:
    """Return the names (and patterns, for shards) of a model's weight files in one format, best first."""
    plain = SAFETENSORS if safetensors else PICKLE
    stem, ending = plain.split(".")
    shards = [f"{stem}-*.{ending}"] if not variant else [f"{stem}.{variant}-*.{ending}", f"{stem}-*.{variant}.{ending}"]
    return [with_variant(plain, variant), with_variant(f"{plain}.index.json", variant), *shards]


def with_variant(name: str, variant: str | None) -> str:
    """Return ``model.fp16.safetensors`` for ``model.safetensors`` and the variant ``fp16``."""
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{variant}.{ending}" if variant else name


def open_checkpoint(
    folder: str | os.PathLike[str],
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    names: Callable[[], Sequence[str]] | None = None,
) -> Checkpoint:
    """Open the weights in a folder: safetensors if there is such a file, else pytorch_model.bin.

    ``use_safetensors`` True or False allows only the one or the other; ``names`` tells what else lies where the folder
    came from.

    Raises:
        CheckpointError: no such weights, or their files are missing, damaged, unsafe or contradict each other.
    """
    for path, reader in _candidates(Path(folder), variant, use_safetensors):
        if path.suffix != ".json":
            return _merge(path, [reader(path)])
        return _open_shards(path, reader)
    there = listing(folder, Path(folder)) if names is None else names()
    raise CheckpointError(_what_is_there(Path(folder), variant, use_safetensors, there))


def _candidates(
    folder: Path, variant: str | None, use_safetensors: bool | None
) -> Iterator[tuple[Path, type[SafetensorsFile] | type[PickleFile]]]:
    for safetensors, reader in ((True, SafetensorsFile), (False, PickleFile)):
        if use_safetensors in (None, safetensors):
            for name in weight_files(safetensors, variant)[:2]:
                if os.path.lexists(folder / name):
                    yield member(folder, name), reader


def _open_shards(index: Path, reader: type[SafetensorsFile] | type[PickleFile]) -> Checkpoint:
    where = read_json(index, "weight index", {"weight_map": Rule("", "mapping of texts")}).get("weight_map")
    if not where:
        raise CheckpointError(f"{str(index)!r} has no 'weight_map' from tensor names to file names; fetch it again")
    shards = {name: member(index.parent, name) for name in sorted(set(where.values()))}
    seen: dict[Path, str] = {}
    for name, path in shards.items():
        if not path.is_file():
            raise CheckpointError(f"{str(index)!r} names the file {name!r}, which is missing; fetch the model again")
        if path.suffix != (".safetensors" if reader is SafetensorsFile else ".bin"):
            raise CheckpointError(f"{str(index)!r} names the file {name!r}, which is of another format")
        if other := seen.get(path.resolve()):
            raise CheckpointError(f"{str(index)!r} lists one file twice, as {other!r} and as {name!r}")
        seen[path.resolve()] = name
    merged = _merge(index, [reader(path) for path in shards.values()])
    for tensor, name in where.items():
        if tensor not in merged.infos or merged.infos[tensor].file != shards[name]:
            raise CheckpointError(
                f"{str(index)!r} says the tensor {tensor!r} is in {name!r}, where it is not; the files do not belong "
                "together, fetch the model again"
            )
    return merged


def _merge(
    path: Path, files: list[SafetensorsFile] | list[PickleFile] | list[SafetensorsFile | PickleFile]
) -> Checkpoint:
    infos: dict[str, TensorInfo] = {}
    for file in files:
        for name, info in file.infos.items():
            if name in infos:
                raise CheckpointError(
                    f"the tensor {name!r} is in two files, {infos[name].file.name!r} and {file.path.name!r} "
                    f"of {str(path.parent)!r}; fetch the model again"
                )
            infos[name] = info
    return Checkpoint(path, infos, {file.path: file for file in files})


def _what_is_there(folder: Path, variant: str | None, use_safetensors: bool | None, there: Sequence[str]) -> str:
    wanted = [
        name
        for safetensors in (True, False)
        if use_safetensors in (None, safetensors)
        for name in weight_files(safetensors, variant)[:2]
    ]
    message = f"{str(folder)!r} has none of the weight files {', '.join(name[:100] for name in wanted)}"
    other = [name for name in there if _OURS.fullmatch(name) and name not in wanted]
    if other:
        return f"{message}, only {', '.join(other[:3])}; see the arguments variant and use_safetensors"
    return f"{message}; {recognised(there) or 'give the folder of a saved model'}"
