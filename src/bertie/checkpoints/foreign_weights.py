"""Weights of TensorFlow or Flax in a folder or from the hub: choosing the file and its reader."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bertie.checkpoints.flax_file import FlaxFile
from bertie.checkpoints.folder import CONFIG_FILES, Checkpoint, Place, merged, open_shards
from bertie.checkpoints.keras_file import KerasFile
from bertie.checkpoints.tensor_bundle import SUFFIX, TensorBundle, index_in
from bertie.checkpoints.tensors import TensorFile
from bertie.errors import CheckpointError
from bertie.hub import listing, member, resolve
from bertie.layouts import describe_files


@dataclass(frozen=True)
class Library:
    """A library's name, its weight file, its reader, and the files to download."""

    name: str
    weights: str
    reader: Callable[[Path], TensorFile]
    files: tuple[str, ...]


KERAS_FILE, FLAX_FILE = "tf_model.h5", "flax_model.msgpack"
LIBRARIES = {
    "tf": Library(
        "TensorFlow", KERAS_FILE, KerasFile, (KERAS_FILE, f"{KERAS_FILE}.index.json", "tf_model-*.h5", "*ckpt*")
    ),
    "flax": Library("Flax", FLAX_FILE, FlaxFile, (FLAX_FILE, f"{FLAX_FILE}.index.json", "flax_model-*.msgpack")),
}


def folder_and_index(source: str) -> tuple[str, Path | None]:
    """Return a model's folder or name, and the index of a TensorFlow 1 checkpoint if ``source`` is a path to one."""
    for path in (source, f"{source}{SUFFIX}"):
        if path.endswith(SUFFIX) and os.path.isfile(path):
            return os.path.dirname(path) or ".", Path(path)
    return source, None


def open_foreign(place: Place, library: str, index: Path | None = None) -> Checkpoint:
    """Open weights written by a library in `LIBRARIES`; ``index`` selects a TensorFlow 1 checkpoint."""
    row = LIBRARIES[library]
    folder = resolve(place.name_or_path, files=[*CONFIG_FILES, *row.files], **place.arguments)
    if index is None:
        for name in (row.weights, f"{row.weights}.index.json"):
            if os.path.lexists(folder / name):
                path = member(folder, name)
                return open_shards(path, row.reader) if path.suffix == ".json" else merged(path, [row.reader(path)])
        index = index_in(folder) if library == "tf" else None
    if index is not None:
        return merged(index, [TensorBundle(index)])
    there = describe_files(listing(place.name_or_path, folder, **place.arguments))
    wanted = f"{row.weights} or bert_model.ckpt{SUFFIX}" if library == "tf" else row.weights
    raise CheckpointError(
        f"{str(folder)!r} has no weights of {row.name} ({wanted}); {there or 'leave the argument out'}"
    )
