"""A model's weights in a folder or from the hub: choosing the files, joining shards, reading tensors on demand."""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.adapters import ADAPTER_WEIGHTS, MergedFile, with_decoder
from bertie.checkpoints.names import PREFIX, from_family, unwrapped
from bertie.checkpoints.pickle_file import GivenTensors, PickleFile
from bertie.checkpoints.safetensors_file import SafetensorsFile
from bertie.checkpoints.tensors import TensorFile, TensorInfo, check_float, float32_of, tensor_of
from bertie.config import CONFIG_NAMES
from bertie.errors import CheckpointError
from bertie.families import Family
from bertie.files import checked_path, read_json
from bertie.hub import ADAPTER_CONFIG, base_of_adapter, found_for_adapter, is_adapter, listing, member, resolve
from bertie.layouts import describe_files
from bertie.progress import say_once
from bertie.rules import Rule

if TYPE_CHECKING:
    import torch

SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"
CONFIG_FILES = (*CONFIG_NAMES, "generation_config.json")
# weights that bertie reads, under any variant's name
_OURS = re.compile(r"(pytorch_)?model([.-][^/]*)?\.(safetensors|bin|index\.json)")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a model folder: names, shapes and dtypes at once, the values memory-mapped on demand."""

    path: Path
    infos: dict[str, TensorInfo]
    _files: dict[Path, TensorFile]
    _stored: Mapping[str, str] = field(default_factory=dict)  # name in `infos` → name in the file, where they differ

    def array(self, name: str) -> NDArray[Any]:
        """Return a stored tensor by its name in `infos`, as a copy-on-write view of the file.

        If NumPy lacks the dtype, these are the raw bits: bfloat16 comes as uint16, float8 as uint8.
        """
        return self._files[self.infos[name].file].array(self._stored.get(name, name))

    def float32(self, name: str) -> NDArray[np.float32]:
        """Return a stored tensor in float32: a view as from `array` if it is stored so, else a copy."""
        info = self.infos[name]
        check_float(name, info)
        return float32_of(self.array(name), info.dtype)

    def tensor(self, name: str) -> "torch.Tensor":
        """Return a stored tensor as a PyTorch tensor of the stored dtype."""
        return tensor_of(self.array(name), self.infos[name].dtype)

    def unwrapped(self, known: Collection[str] = ()) -> "Checkpoint":
        """Return the checkpoint without wrappers' prefixes, with a warning; names in ``known`` are not changed."""
        stored = dict(unwrapped(self.infos))
        changed = [name for plain, name in stored.items() if plain != name]
        if not changed or any(name in known for name in changed):
            return self
        if len(stored) < len(self.infos):
            twice = next(name for name in self.infos if name not in stored.values())
            raise CheckpointError(
                f"{str(self.path)!r} has the tensor {twice!r} a second time, with a wrapper's prefix; remove the wrong "
                "one"
            )
        say_once(
            f"{str(self.path)!r} holds a model in a wrapper, whose prefix is removed from {changed[0]!r} and others"
        )
        return replace(self, infos={plain: self.infos[name] for plain, name in stored.items()}, _stored=stored)

    def in_bert_names(self, family: Family, architecture: str) -> "Checkpoint":
        """Return the checkpoint under BERT's tensor names, as those of BERT's class ``architecture``."""
        if family.is_bert or any(name.startswith(PREFIX) for name in self.infos):
            return self
        names = {from_family(name, family, architecture): name for name in self.infos}
        if len(names) < len(self.infos):
            twice = next(name for name in self.infos if name not in names.values())
            raise CheckpointError(f"{str(self.path)!r} has {twice!r} under a second name too; remove the wrong one")
        stored = {name: self._stored.get(theirs, theirs) for name, theirs in names.items()}
        return replace(self, infos={name: self.infos[theirs] for name, theirs in names.items()}, _stored=stored)


def weight_files(safetensors: bool, variant: str | None = None) -> list[str]:
    """Return the names, and patterns for shards, of a model's weight files in one format, in order of preference."""
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
    """Open the weights in a folder: safetensors if there are any, else pytorch_model.bin.

    ``use_safetensors`` True or False allows only one of them; ``names`` lists the files of the folder's source for the
    error message.
    """
    folder = Path(folder)
    wanted = [
        (name, is_safe)
        for is_safe in (True, False)
        if use_safetensors in (None, is_safe)
        for name in weight_files(is_safe, variant)[:2]
    ]
    for name, is_safe in wanted:
        if os.path.lexists(folder / name):
            path, reader = member(folder, name), SafetensorsFile if is_safe else PickleFile
            return open_shards(path, reader) if path.suffix == ".json" else merged(path, [reader(path)])
    there = listing(folder, folder) if names is None else names()
    raise CheckpointError(_without_weights(folder, [name for name, _ in wanted], there))


def checkpoint_of(tensors: Mapping[str, Any]) -> Checkpoint:
    """Return a state dict in memory as a `Checkpoint`."""
    file = GivenTensors(tensors)
    return merged(file.path, [file])


def open_shards(index: Path, reader: Callable[[Path], TensorFile]) -> Checkpoint:
    """Open the shards that an index names; the tensors listed in their own headers are what counts."""
    where = read_json(index, "weight index", {"weight_map": Rule("", "mapping of strings")}).get("weight_map")
    if not where:
        raise CheckpointError(f"{str(index)!r} has no 'weight_map' from tensor names to file names; fetch it again")
    shards = {name: member(index.parent, name) for name in sorted(set(where.values()))}
    seen: dict[Path, str] = {}
    for name, path in shards.items():
        if not path.is_file():
            raise CheckpointError(f"{str(index)!r} names the file {name!r}, which is missing; fetch the model again")
        if path.suffix != Path(index.name.partition(".index.")[0]).suffix:
            raise CheckpointError(f"{str(index)!r} names the file {name!r}, which is of another format")
        if other := seen.get(path.resolve()):
            raise CheckpointError(f"{str(index)!r} lists one file twice, as {other!r} and as {name!r}")
        seen[path.resolve()] = name
    found = merged(index, [reader(path) for path in shards.values()])
    listed = where if reader in (SafetensorsFile, PickleFile) else {}  # other formats rename tensors
    for tensor, name in listed.items():
        if tensor not in found.infos or found.infos[tensor].file != shards[name]:
            raise CheckpointError(
                f"{str(index)!r} says the tensor {tensor!r} is in {name!r}, where it is not; the files do not belong "
                "together, fetch the model again"
            )
    return found


def merged(path: Path, files: Sequence[TensorFile]) -> Checkpoint:
    """Return the tensors of several files as one checkpoint; ``path`` stands for it in messages."""
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


def _without_weights(folder: Path, wanted: Sequence[str], there: Sequence[str]) -> str:
    message = f"{str(folder)!r} has none of the weight files {', '.join(name[:100] for name in wanted)}"
    other = [name for name in there if _OURS.fullmatch(name) and name not in wanted]
    if other:
        return f"{message}, only {', '.join(other[:3])}; see the arguments variant and use_safetensors"
    return f"{message}; {describe_files(there) or 'give the folder of a saved model'}"


@dataclass(frozen=True)
class Place:
    """The source of a model: the arguments of `bertie.hub.resolve`."""

    name_or_path: str
    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | os.PathLike[str] | None = None
    local_files_only: bool = False
    force_download: bool = False
    subfolder: str = ""

    @property
    def folder(self) -> Path | None:
        """The folder of a local model; None for one in the hub's cache, where files never change, or a missing one."""
        folder = checked_path(self.name_or_path) / checked_path(self.subfolder or "")
        return folder if self.name_or_path and os.path.isdir(folder) else None

    @property
    def arguments(self) -> dict[str, Any]:
        """All but the name, as keyword arguments of `resolve`."""
        return {name: value for name, value in vars(self).items() if name != "name_or_path"}


def open_weights(place: Place, variant: str | None = None, use_safetensors: bool | None = None) -> Checkpoint:
    """Open a model's weights; those of a peft adapter are merged into its base model's."""
    folder = _resolved(place, variant, use_safetensors, ADAPTER_CONFIG, *ADAPTER_WEIGHTS)
    if not is_adapter(folder):
        return _open_plain(place, folder, variant, use_safetensors)
    name, of_base = base_of_adapter(folder)
    base = replace(place, name_or_path=name, subfolder="", **of_base)

    def load() -> Checkpoint:
        return _open_plain(base, _resolved(base, variant, use_safetensors), variant, use_safetensors)

    checkpoint = with_decoder(found_for_adapter(folder, load))
    merged = MergedFile(folder, checkpoint)
    files = {**checkpoint._files, merged.path: merged}
    stored = {name: theirs for name, theirs in checkpoint._stored.items() if name not in merged.infos}
    return replace(checkpoint, infos={**checkpoint.infos, **merged.infos}, _files=files, _stored=stored)


def _resolved(place: Place, variant: str | None, use_safetensors: bool | None, *more: str) -> Path:
    files = [*CONFIG_FILES, *weight_files(use_safetensors is not False, variant), *more]
    return resolve(place.name_or_path, files=files, **place.arguments)


def _open_plain(place: Place, folder: Path, variant: str | None, use_safetensors: bool | None) -> Checkpoint:
    """Open the weights in a resolved folder; .bin files are downloaded only if the hub has no safetensors."""
    if use_safetensors is None and not os.path.isdir(place.name_or_path):
        single, index, *_ = weight_files(True, variant)
        if not (folder / single).exists() and not (folder / index).exists():
            folder = resolve(
                place.name_or_path, files=[*CONFIG_FILES, *weight_files(False, variant)], **place.arguments
            )
    names = partial(listing, place.name_or_path, folder, **place.arguments)
    return open_checkpoint(folder, variant=variant, use_safetensors=use_safetensors, names=names)
