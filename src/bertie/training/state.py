"""A run on the disk: weights and moments in safetensors, all else in JSON, in folders that are whole or not there.

Each save is a new folder ``state-N``, written beside and renamed when it is on the disk; only then the one before goes.
The best weights are files of their own, named by their step and never changed.
"""

import json
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.errors import CheckpointError
from bertie.files import atomic, atomic_folder, make_folder, read_json, remove_leftovers
from bertie.progress import logger

VERSION = 1
PARTS = ("model", "optimizer")
_STATE = re.compile(r"state-(\d{6,})")
_BEST = re.compile(r"best-(\d{8,})\.safetensors")


class Saved(NamedTuple):
    """What a state holds: what the run was started with, its history, and tensors by name."""

    identity: dict[str, Any]
    history: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]


class States:
    """The states and best weights of one run in ``folder``, which is made when something is saved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._latest = 0

    def exist(self) -> bool:
        """Whether a run has left a state here."""
        return bool(self._numbered())

    def save(
        self,
        identity: Mapping[str, Any],
        history: Mapping[str, Any],
        model: dict[str, Tensor],
        optimizer: dict[str, Tensor],
    ) -> None:
        """Write a state; if that fails the one before is still there."""
        make_folder(self._folder)
        number = max(self._numbered(), default=0) + 1
        with atomic_folder(self._path(number)) as new:
            sums = {
                part: _write(tensors, new / f"{part}.safetensors")
                for part, tensors in zip(PARTS, (model, optimizer), strict=True)
            }
            values = {"version": VERSION, "sums": sums, "identity": dict(identity), "history": dict(history)}
            (new / "state.json").write_text(json.dumps(values, indent=1), encoding="utf-8")
        self._latest = number
        self.tidy(history["best_step"])

    def load(self) -> Saved | None:
        """Return the latest state that is whole, or None if there is none at all."""
        problem: CheckpointError | None = None
        for number in sorted(self._numbered(), reverse=True):
            try:
                saved = _read(self._path(number))
            except CheckpointError as error:
                problem = problem or error
                logger.warning("%s; looking for the state before it", error)
            else:
                self._latest = number
                return saved
        if problem is not None:
            raise CheckpointError(
                f"No saved state in {str(self._folder)!r} is whole: {problem}; start the run anew, without resume"
            ) from problem
        return None

    def save_best(self, step: int, model: dict[str, Tensor]) -> None:
        """Write the weights of the best evaluation so far."""
        make_folder(self._folder)
        with atomic(self._best(step)) as temporary:
            write_tensors(model, temporary)

    def load_best(self, step: int) -> dict[str, Tensor]:
        """Return the weights that were best."""
        path = self._best(step)
        if not path.is_file():
            raise CheckpointError(f"the best weights {str(path)!r} are not there; start the run anew, without resume")
        return _tensors(path)

    def tidy(self, best: int | None) -> None:
        """Remove all states but the one saved or loaded last, and the best weights of all steps but ``best``."""
        for number in self._numbered():
            if number != self._latest:
                shutil.rmtree(self._path(number), ignore_errors=True)
        for path in self._folder.glob("best-*.safetensors"):
            if (found := _BEST.fullmatch(path.name)) and int(found[1]) != best:
                path.unlink(missing_ok=True)
        remove_leftovers(self._folder)

    def _numbered(self) -> list[int]:
        return [int(found[1]) for path in self._folder.glob("state-*") if (found := _STATE.fullmatch(path.name))]

    def _path(self, number: int) -> Path:
        return self._folder / f"state-{number:06}"

    def _best(self, step: int) -> Path:
        return self._folder / f"best-{step:08}.safetensors"


def _read(folder: Path) -> Saved:
    values = read_json(folder / "state.json", "training state")
    if values.get("version") != VERSION:
        raise CheckpointError(
            f"the training state {str(folder)!r} is of version {values.get('version')!r}, and {VERSION} is read here; "
            "resume with the release of bertie that wrote it"
        )
    for part in PARTS:
        path = folder / f"{part}.safetensors"
        if not path.is_file() or _sum(path) != values.get("sums", {}).get(part):
            raise CheckpointError(f"the training state {str(folder)!r} is damaged ({path.name})")
    if not isinstance(values.get("history"), dict) or not isinstance(values.get("identity"), dict):
        raise CheckpointError(f"the training state {str(folder)!r} is damaged (state.json)")
    tensors = (_tensors(folder / f"{part}.safetensors") for part in PARTS)
    return Saved(values["identity"], values["history"], *tensors)


def _tensors(path: Path) -> dict[str, Tensor]:
    file = SafetensorsFile(path)
    return {name: file.tensor(name) for name in file.infos}


def _write(tensors: dict[str, Tensor], path: Path) -> int:
    write_tensors(tensors, path)
    return _sum(path)


def _sum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            total = zlib.crc32(block, total)
    return total
