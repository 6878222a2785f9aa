"""A new model's folder: where it may be written, and what of the folder that it was made from belongs into it."""

import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from bertie.config import CONFIG_NAMES
from bertie.errors import CheckpointError
from bertie.hub import base_of_adapter, found_for_adapter, is_adapter, member, resolve
from bertie.run_files import MODEL_CARD, REPORT, RESULTS

# beside a model's weights: tokenizer, pooling, words about it
_COPIED = (".json", ".txt", ".md")
_COPIED_NAMES = ("LICENSE", "NOTICE")
# how good the model was that a folder was written for; run.json, which says what it learned from, goes along
_SCORES = (REPORT, RESULTS, "average.json")
_NOTE = b"> This is the card of the model that this one was made from by bertie; its figures are that model's.\n\n"
_FRONT_MATTER = re.compile(rb"\A(?:\s*---\r?\n.*?^---[ \r]*\n\s*)?", re.MULTILINE | re.DOTALL)


def check_new(folder: str | os.PathLike[str]) -> Path:
    """Return ``folder`` if a model may be written there: it is not there yet, or empty, and its place takes files."""
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()):
        raise CheckpointError(f"the folder {str(path)!r} is not empty; name a new one")
    if path.exists() and not path.is_dir():
        raise CheckpointError(f"{str(path)!r} is a file; name a new folder")
    place = next(one for one in path.absolute().parents if one.exists())
    if place.is_dir() and not os.access(place, os.W_OK):
        raise CheckpointError(f"cannot write {str(path)!r}: you may not write to {str(place)!r}; choose another place")
    return path


def copy_beside(source: Path, target: Path, subfolder: str = "", without: Collection[str] = ()) -> None:
    """Copy what lies beside a model's own files, which are in ``subfolder`` of both; ``without`` names what is not.

    What a peft adapter lacks is copied from its base model.
    """
    for place in (_base_of(source), source) if is_adapter(source) else (source,):
        for name in set(_names(place, subfolder)).difference(without):
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(place / name, target / name)


def note_in_card(folder: Path) -> None:
    """Let the card in the folder of a model with other weights say whose it is, behind what it says to programs."""
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
        own = path.parent == place and is_config
        # a dense layer of sentence-transformers has weights of its own, in a folder such as 2_Dense
        part = path.parent != source and path.parent != place
        # models of single seeds, folds and epochs are in folders too, and are not parts of this one
        if part and not path.parent.name[:1].isdigit():
            continue
        wanted = path.suffix in _COPIED or path.name in _COPIED_NAMES or (part and path.suffix == ".safetensors")
        own = own or path.name in _SCORES
        name = str(path.relative_to(source))
        if wanted and not own and not path.name.startswith((".", "adapter_")) and member(source, name).is_file():
            yield name
