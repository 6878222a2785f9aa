"""Writing a model folder: safetensors, sharded if large; all files are replaced together once all are on disk."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from bertie.checkpoints.folder import SAFETENSORS, with_variant
from bertie.checkpoints.safetensors_file import write_tensors
from bertie.errors import InputError
from bertie.files import atomic_files, json_text, make_folder

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "NDArray[Any] | torch.Tensor"]

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def write_checkpoint(
    folder: str | os.PathLike[str],
    tensors: Tensors,
    config: str,
    *,
    max_shard_size: int | str = "5GB",
    variant: str | None = None,
    others: Mapping[str, str] | None = None,
) -> None:
    """Write ``tensors``, the text of config.json and ``others`` (name → text) to ``folder``, created if needed.

    A failure leaves the folder unchanged. Weight files left over from an earlier save are removed after success.
    """
    from huggingface_hub import split_state_dict_into_shards_factory

    plan = split_state_dict_into_shards_factory(
        dict(tensors),
        get_storage_size=lambda tensor: tensor.nbytes,
        filename_pattern=with_variant(SAFETENSORS, variant).replace(".safetensors", "{suffix}.safetensors"),
        max_shard_size=parse_size(max_shard_size),
    )
    texts = {"config.json": config, **(others or {})}
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        texts[with_variant(f"{SAFETENSORS}.index.json", variant)] = json_text(index)
    target = make_folder(folder)
    names = [*plan.filename_to_tensors, *texts]
    with atomic_files([target / name for name in names]) as temporaries:
        for name, temporary in zip(names, temporaries, strict=True):
            if name in texts:
                temporary.write_text(texts[name], encoding="utf-8", newline="\n")
            else:
                write_tensors({each: tensors[each] for each in plan.filename_to_tensors[name]}, temporary)
    _remove_stale(target, names, variant)


def parse_size(size: int | str) -> int:
    """Return a number of bytes from a number or from text such as ``"5GB"`` or ``"200 MiB"``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", str(size).strip())
    if isinstance(size, bool) or match is None or match[2].upper() not in _UNITS:
        raise InputError(f"max_shard_size is {size!r}; allowed: a number of bytes or a text such as '5GB' or '200MiB'")
    number = int(float(match[1]) * _UNITS[match[2].upper()])
    if number < 1:
        raise InputError(f"max_shard_size is {size!r}; allowed: at least 1 byte")
    return number


def _remove_stale(folder: Path, kept: list[str], variant: str | None) -> None:
    """Remove weight files and index of an earlier save, which would be read instead of, or contradict, the new ones."""
    stem = re.escape(with_variant(SAFETENSORS, variant).removesuffix(".safetensors"))
    index = re.escape(with_variant(f"{SAFETENSORS}.index.json", variant))
    ours = re.compile(rf"{stem}(-\d{{5}}-of-\d{{5}})?\.safetensors|{index}")
    for path in folder.iterdir():
        if ours.fullmatch(path.name) and path.name not in kept:
            path.unlink()
