"""Where a model comes from, a folder or the hub, and its weights opened there."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bertie.checkpoints.folder import Checkpoint, open_checkpoint, weight_files
from bertie.config import CONFIG_NAME
from bertie.files import checked_path
from bertie.hub import listing, resolve


@dataclass(frozen=True)
class Place:
    """Where a model comes from: the arguments of `bertie.hub.resolve`."""

    name_or_path: str
    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | os.PathLike[str] | None = None
    local_files_only: bool = False
    force_download: bool = False
    subfolder: str = ""

    @property
    def folder(self) -> Path | None:
        """Where a local model's files lie; None: in the hub's cache, in which no file changes, or nowhere."""
        folder = checked_path(self.name_or_path) / checked_path(self.subfolder or "")
        return folder if self.name_or_path and os.path.isdir(folder) else None

    @property
    def arguments(self) -> dict[str, Any]:
        """All but the name, as keyword arguments."""
        return {name: value for name, value in vars(self).items() if name != "name_or_path"}


def open_weights(place: Place, variant: str | None = None, use_safetensors: bool | None = None) -> Checkpoint:
    """Open a model's weights; a hub's .bin files are downloaded only if it has no safetensors.

    Raises:
        CheckpointError: there are none, or they are damaged or unsafe.
    """
    folder = resolve(
        place.name_or_path, files=[CONFIG_NAME, *weight_files(use_safetensors is not False, variant)], **place.arguments
    )
    if use_safetensors is None and not os.path.isdir(place.name_or_path):
        single, index, *_ = weight_files(True, variant)
        if not (folder / single).exists() and not (folder / index).exists():
            folder = resolve(place.name_or_path, files=[CONFIG_NAME, *weight_files(False, variant)], **place.arguments)
    names = partial(listing, place.name_or_path, folder, **place.arguments)
    return open_checkpoint(folder, variant=variant, use_safetensors=use_safetensors, names=names)
