"""Which files a source names: one, several, a folder's, or those that a pattern fits."""

import glob
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from bertie.data.lines import plain_suffix
from bertie.errors import InputError
from bertie.messages import listed

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
# parts of a data set that are never meant to be read as one
_PARTS = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "test": "test"}


def is_paths(source: Any) -> TypeGuard[Paths]:
    """Whether a source is a path, or a list of them."""
    if isinstance(source, list | tuple):
        return bool(source) and all(isinstance(one, str | os.PathLike) for one in source)
    return isinstance(source, str | os.PathLike)


def path_names(source: Paths) -> str:
    """Return the paths of a source as one readable text."""
    return ", ".join(map(str, [source] if isinstance(source, str | os.PathLike) else source))


def files_of(source: Paths, suffixes: Collection[str]) -> list[Path]:
    """Return the files that a source names, in the order of reading; those of a folder or a pattern by name."""
    paths = [source] if isinstance(source, str | os.PathLike) else source
    return [file for path in paths for file in _files(Path(path), suffixes)]


def describe_files(files: Sequence[Path]) -> str:
    """Return the sentence that says which files were read as one source."""
    return f"{len(files)} files are read as one: {listed(list(map(str, files)), 5, str)}."


def _files(path: Path, suffixes: Collection[str]) -> list[Path]:
    if path.is_dir():
        return _of_folder(path, suffixes)
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    if not found:
        raise InputError(f"No file fits the pattern {str(path)!r}.")
    return found


def _of_folder(folder: Path, suffixes: Collection[str]) -> list[Path]:
    if (folder / "dataset_info.json").exists():
        raise InputError(f"{str(folder)!r} is a saved datasets.Dataset: give what datasets.load_from_disk opens.")
    here = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    annotated = [path for path in here if path.suffix == ".ann"]
    known = annotated or [path for path in here if plain_suffix(path) in suffixes]
    found = known or [path for path in here if plain_suffix(path) == ".txt"]
    if not found:
        raise InputError(f"The folder {str(folder)!r} holds no file of rows ({', '.join(suffixes)}).")
    parts = {part for path in found for part in [_PARTS.get(path.name.split(".")[0].split("-")[0].lower())] if part}
    if len(parts) > 1:
        raise InputError(
            f"The folder {str(folder)!r} holds {' and '.join(sorted(parts))}; name one of its files, or a pattern such "
            "as 'train*'."
        )
    return found
