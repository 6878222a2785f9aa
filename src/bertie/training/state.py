"""A run on the disk: weights and moments in safetensors, all else in JSON, in folders that are complete or absent.

Each save is a new folder ``state-N``, written beside and renamed when it is on the disk; only then the one before goes.
Where each process keeps a part of the model, each writes a file of its own into it.
The best weights are files of their own, named by their step and never changed.
"""

import json
import re
import shutil
import zlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.errors import CheckpointError
from bertie.files import atomic, atomic_folder, make_folder, read_json, remove_leftovers
from bertie.progress import logger
from bertie.training.distributed import ALONE, Processes
from bertie.training.param_groups import is_sharded
from bertie.training.sharded_state import read_shards, rows_of, write_shards
from bertie.training.sparse_embeddings import with_all_rows

VERSION = 1
PARTS = ("model", "optimizer")
Parts = dict[str, dict[str, Tensor]]
# how the name of a state that stays ends
_STAYS = "-stays"
_STATE = re.compile(rf"state-(\d{{6,}})({_STAYS})?")
_SHARD = re.compile(r"shard-\d{5,}")
_BEST = re.compile(r"best-(\d{8,})\.safetensors")


class Saved(NamedTuple):
    """The start and the history of a run, and its tensors by name; of shards, this process's rows."""

    identity: dict[str, Any]
    history: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]


class States:
    """The states and best weights of one run in ``folder``; all processes call `save` and `load`."""

    def __init__(self, folder: Path, group: Processes = ALONE, most: int = 1) -> None:
        self._folder, self._group, self._most = folder, group, most  # so many last states are kept
        self._latest = 0

    def exist(self) -> bool:
        return bool(self._numbered())

    def save(
        self,
        identity: Mapping[str, Any],
        history: Mapping[str, Any],
        model: dict[str, Tensor],
        optimizer: dict[str, Tensor],
        parameters: Mapping[str, Tensor],
        stays: bool = False,
    ) -> None:
        """Write a state, which no later one removes if it ``stays``; if that fails the one before is still there.

        If the ``parameters`` of the model are in shards, ``model`` and ``optimizer`` are this process's rows.
        """
        is_first, sharded = self._group.rank == 0, is_sharded(parameters)
        if not sharded and not is_first:
            return
        number = max(self._numbered(), default=0) + 1
        if is_first:
            make_folder(self._folder)
        with atomic_folder(self._path(number, stays)) if is_first else nullcontext() as new:
            parts = dict(zip(PARTS, (model, optimizer), strict=True))
            sums = self._write_shards(parts, parameters, new) if sharded else _write(parts, new)
            if new is not None:
                values = {"version": VERSION, "sums": sums, "identity": dict(identity), "history": dict(history)}
                (new / "state.json").write_text(json.dumps(values, indent=1), encoding="utf-8")
        self._latest = number
        if is_first:
            self.tidy(history["best_step"])

    def load(self, parameters: Mapping[str, Tensor]) -> Saved | None:
        """Return the latest state that is whole, or None if there is none at all; ``parameters`` are the model's."""
        self._latest = self._group.broadcast(self._latest_whole() if self._group.rank == 0 else 0)
        if not self._latest:
            return None
        folder = self._numbered().get(self._latest, self._path(self._latest))
        if not folder.is_dir():
            raise CheckpointError(
                f"process {self._group.rank} has no folder {str(folder)!r}, which the first process has; keep the "
                "state on a file system that all machines share"
            )
        values = _checked_values(folder)
        return Saved(values["identity"], values["history"], **self._tensors(folder, list(values["sums"]), parameters))

    def save_best(self, step: int, model: dict[str, Tensor]) -> None:
        make_folder(self._folder)
        with atomic(self._best(step)) as temporary:
            write_tensors(model, temporary)

    def load_best(self, step: int) -> dict[str, Tensor]:
        path = self._best(step)
        if not path.is_file():
            raise CheckpointError(f"the best weights {str(path)!r} are not there; start the run anew, without resume")
        return _tensors(path)

    def tidy(self, best: int | None) -> None:
        """Remove all states but the last and those that stay, and the best weights of all steps but ``best``."""
        numbered = self._numbered()
        last = [number for number in sorted(numbered) if number <= self._latest][-self._most :]
        for number, path in numbered.items():
            if number not in last and (number > self._latest or not path.name.endswith(_STAYS)):
                shutil.rmtree(path, ignore_errors=True)
        for path in self._folder.glob("best-*.safetensors"):
            if (found := _BEST.fullmatch(path.name)) and int(found[1]) != best:
                path.unlink(missing_ok=True)
        remove_leftovers(self._folder)

    def _latest_whole(self) -> int:
        """Return the number of the latest state whose files are as they were written; 0 if there is no state."""
        problem: CheckpointError | None = None
        for number, path in sorted(self._numbered().items(), reverse=True):
            try:
                _check_sums(path)
            except CheckpointError as error:
                problem = problem or error
                logger.warning("%s; looking for the state before it", error)
            else:
                return number
        if problem is not None:
            raise CheckpointError(
                f"No saved state in {str(self._folder)!r} is whole: {problem}; start the run anew, without resume"
            ) from problem
        return 0

    def _write_shards(self, parts: Parts, parameters: Mapping[str, Tensor], folder: Path | None) -> dict[str, int]:
        """Write this process's file, and return the sums of all; the first process alone knows the folder."""
        path = Path(self._group.broadcast(str(folder))) / f"shard-{self._group.rank:05}.safetensors"
        write_shards(_joined(parts), parameters, path, self._group)
        return dict(self._group.gather((path.stem, _sum(path))))

    def _tensors(self, folder: Path, files: Sequence[str], parameters: Mapping[str, Tensor]) -> Parts:
        """Return weights and moments, of shards this process's rows, whatever number of processes wrote them."""
        paths = [folder / f"{name}.safetensors" for name in files]
        if set(files) != set(PARTS):
            return _parted(read_shards(paths, parameters, self._group))
        parts = {path.stem: _tensors(path) for path in paths}
        if self._group.world > 1:
            parts["optimizer"] = with_all_rows(parts["optimizer"], parameters)
        return _parted(rows_of(_joined(parts), parameters, self._group)) if is_sharded(parameters) else parts

    def _numbered(self) -> dict[int, Path]:
        found = ((_STATE.fullmatch(path.name), path) for path in self._folder.glob("state-*"))
        return {int(name[1]): path for name, path in found if name}

    def _path(self, number: int, stays: bool = False) -> Path:
        return self._folder / f"state-{number:06}{_STAYS if stays else ''}"

    def _best(self, step: int) -> Path:
        return self._folder / f"best-{step:08}.safetensors"


def _write(parts: Parts, folder: Path | None) -> dict[str, int]:
    assert folder is not None
    for part, tensors in parts.items():
        write_tensors(tensors, folder / f"{part}.safetensors")
    return {part: _sum(folder / f"{part}.safetensors") for part in parts}


def _joined(parts: Parts) -> dict[str, Tensor]:
    return {f"{part}/{name}": each for part, tensors in parts.items() for name, each in tensors.items()}


def _parted(tensors: Mapping[str, Tensor]) -> Parts:
    parts: Parts = {part: {} for part in PARTS}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    return parts


def _checked_values(folder: Path) -> dict[str, Any]:
    values = read_json(folder / "state.json", "training state")
    if values.get("version") != VERSION:
        raise CheckpointError(
            f"the training state {str(folder)!r} is of version {values.get('version')!r}, and {VERSION} is read here; "
            "resume with the release of bertie that wrote it"
        )
    sums = values.get("sums")
    named = isinstance(sums, dict) and (sums.keys() == set(PARTS) or all(map(_SHARD.fullmatch, sums)))
    if not sums or not named or not all(isinstance(values.get(name), dict) for name in ("history", "identity")):
        raise CheckpointError(f"the training state {str(folder)!r} is damaged (state.json)")
    return values


def _check_sums(folder: Path) -> None:
    sums = _checked_values(folder)["sums"]
    for name, total in sums.items():
        path = folder / f"{name}.safetensors"
        if not path.is_file() or _sum(path) != total:
            raise CheckpointError(f"the training state {str(folder)!r} is damaged ({path.name})")


def _tensors(path: Path) -> dict[str, Tensor]:
    file = SafetensorsFile(path)
    return {name: file.tensor(name) for name in file.infos}


def _sum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            total = zlib.crc32(block, total)
    return total
