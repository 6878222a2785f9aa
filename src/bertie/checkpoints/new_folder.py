"""Preparing a new model's folder: may it be written, and which of the source model's files are copied to it."""

import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from bertie.config import CONFIG_NAMES
from bertie.errors import CheckpointError
from bertie.hub import base_of_adapter, found_for_adapter, is_adapter, member, resolve
from bertie.run_files import MODEL_CARD, REPORT, RESULTS

# files besides the weights: tokenizer, pooling, documentation
_COPIED = (".json", ".txt", ".md")
_COPIED_NAMES = ("LICENSE", "NOTICE")
# scores of the source model, not copied; run.json, which records its training data, is
_SCORES = (REPORT, RESULTS, "average.json")
_NOTE = b"> This is the card of the model that this one was made from by bertie; its figures are that model's.\n\n"
_FRONT_MATTER = re.compile(rb"\A(?:\s*---\r?\n.*?^---[ \r]*\n\s*)?", re.MULTILINE | re.DOTALL)


def check_new(folder: str | os.PathLike[str]) -> Path:
    """Return ``folder`` if a model can be written there: it is missing or empty, and its parent is writable."""
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()):
        raise CheckpointError(f"the folder {str(path)!r} is not empty; name a new one")
    if path.exists() and not path.is_dir():
        raise CheckpointError(f"{str(path)!r} is a file; name a new folder")
    place = next(one for one in path.absolute().parents if one.exists())
    if place.is_dir() and not os.access(place, os.W_OK):
        raise CheckpointError(f"cannot write {str(path)!r}: you may not write to {str(place)!r}; choose another place")
    return path


def copy_other_files(source: Path, target: Path, subfolder: str = "", without: Collection[str] = ()) -> None:
    """Copy the files that accompany a model's weights, which are in ``subfolder`` of both folders, but not ``without``.

    Files that a peft adapter lacks are copied from its base model.
    """
    for place in (_base_of(source), source) if is_adapter(source) else (source,):
        for name in set(_names(place, subfolder)).difference(without):
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(place / name, target / name)


def note_in_card(folder: Path) -> None:
    """Note in a copied model card, after its front matter, that it describes the source model."""
    if (path := folder / MODEL_CARD).is_file() and _NOTE not in (card := path.read_bytes()):
        ended = card if card.endswith(b"\n") else card + b"\n"
        path.write_bytes(_FRONT_MATTER.sub(lambda front: front[0] + _NOTE, ended, count=1))


def _base_of(adapter: Path) -> Path:
    name, of_base = base_of_adapter(adapter)
    files = [*(f"*{ending}" for ending in _COPIED), "*_*/*"]  # the latter are layers around the pooling
    return found_for_adapter(adapter, lambda: resolve(name, files=[*files, *_COPIED_NAMES], **of_base))


def _names(source: Path, subfolder: str) -> Iterator[str]:
    place = source / subfolder
    for path in sorted([*source.glob("*"), *source.glob("*/*")]):
        is_config = path.name in CONFIG_NAMES or path.name.endswith(".index.json")
        is_replaced = path.parent == place and is_config
        # a sentence-transformers module has its own weights, in a folder such as 2_Dense
        is_module = path.parent != source and path.parent != place
        # other subfolders hold models of single seeds, folds or epochs, which are not parts of this one
        if is_module and not path.parent.name[:1].isdigit():
            continue
        wanted = path.suffix in _COPIED or path.name in _COPIED_NAMES or (is_module and path.suffix == ".safetensors")
        name = str(path.relative_to(source))
        if (
            wanted
            and not (is_replaced or path.name in _SCORES)
            and not path.name.startswith((".", "adapter_"))
            and member(source, name).is_file()
        ):
            yield name
