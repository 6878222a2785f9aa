"""The saved states of a run: weights and moments in safetensors, all else in JSON, in folders written atomically.

Each save is a new folder ``state-N``, renamed into place when it is on the disk; only then is the previous one removed.
If the model is sharded, each process writes its own file into it.
The best weights are separate files, named by their step and never changed.
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
from bertie.training.sparse_embeddings import with_all_rows

VERSION = 1
PARTS = ("model", "optimizer")
Parts = dict[str, dict[str, Tensor]]
# the suffix of states that are never removed
_PERMANENT = "-stays"
_STATE = re.compile(rf"state-(\d{{6,}})({_PERMANENT})?")
_SHARD = re.compile(r"shard-\d{5,}")
_BEST = re.compile(r"best-(\d{8,})\.safetensors")


class Saved(NamedTuple):
    """The identity and history of a run, and its tensors by name; if sharded, this process's rows."""

    identity: dict[str, Any]
    history: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]


class States:
    """The states and best weights of one run in ``folder``; all processes call `save` and `load`."""

    def __init__(self, folder: Path, group: Processes = ALONE, keep: int = 1) -> None:
        self._folder, self._group, self._keep = folder, group, keep  # the number of last states to keep
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
        permanent: bool = False,
    ) -> None:
        """Write a state, ``permanent`` or until later ones replace it; if that fails, the previous one is still there.

        If the ``parameters`` of the model are sharded, ``model`` and ``optimizer`` are this process's rows.
        """
        is_first, sharded = self._group.rank == 0, is_sharded(parameters)
        if not sharded and not is_first:
            return
        number = max(self._numbered(), default=0) + 1
        if is_first:
            make_folder(self._folder)
        with atomic_folder(self._path(number, permanent)) if is_first else nullcontext() as new:
            parts = dict(zip(PARTS, (model, optimizer), strict=True))
            sums = self._write_shards(parts, parameters, new) if sharded else _write(parts, new)
            if new is not None:
                values = {"version": VERSION, "sums": sums, "identity": dict(identity), "history": dict(history)}
                (new / "state.json").write_text(json.dumps(values, indent=1), encoding="utf-8")
        self._latest = number
        if is_first:
            self.tidy(history["best_step"])

    def load(self, parameters: Mapping[str, Tensor]) -> Saved | None:
        """Return the latest undamaged state, or None if there is no state; ``parameters`` are the model's."""
        self._latest = self._group.broadcast(self._latest_valid() if self._group.rank == 0 else 0)
        if not self._latest:
            return None
        folder = self._numbered().get(self._latest, self._path(self._latest))
        if not folder.is_dir():
            raise CheckpointError(
                f"process {self._group.rank} has no folder {str(folder)!r}, which the first process has; keep the "
                "state on a file system shared by all machines"
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
            raise CheckpointError(f"the best weights {str(path)!r} are missing; start the run again, without resume")
        return _tensors(path)

    def tidy(self, best: int | None) -> None:
        """Remove all states but the last and the permanent ones, and the best weights of all steps but ``best``."""
        numbered = self._numbered()
        last = [number for number in sorted(numbered) if number <= self._latest][-self._keep :]
        for number, path in numbered.items():
            if number not in last and (number > self._latest or not path.name.endswith(_PERMANENT)):
                shutil.rmtree(path, ignore_errors=True)
        for path in self._folder.glob("best-*.safetensors"):
            if (found := _BEST.fullmatch(path.name)) and int(found[1]) != best:
                path.unlink(missing_ok=True)
        remove_leftovers(self._folder)

    def _latest_valid(self) -> int:
        """Return the number of the latest state whose checksums match; 0 if there is no state."""
        problem: CheckpointError | None = None
        for number, path in sorted(self._numbered().items(), reverse=True):
            try:
                _verify_checksums(path)
            except CheckpointError as error:
                problem = problem or error
                logger.warning("%s; looking for the state before it", error)
            else:
                return number
        if problem is not None:
            raise CheckpointError(
                f"All saved states in {str(self._folder)!r} are damaged: {problem}; start the run again, without resume"
            ) from problem
        return 0

    def _write_shards(self, parts: Parts, parameters: Mapping[str, Tensor], folder: Path | None) -> dict[str, int]:
        """Write this process's file, and return the checksums of all; only the first process knows the folder."""
        from bertie.training.sharded_state import write_shards  # imports 700 modules

        path = Path(self._group.broadcast(str(folder))) / f"shard-{self._group.rank:05}.safetensors"
        write_shards(_joined(parts), parameters, path, self._group)
        return dict(self._group.gather((path.stem, _checksum(path))))

    def _tensors(self, folder: Path, files: Sequence[str], parameters: Mapping[str, Tensor]) -> Parts:
        """Return weights and moments, if sharded this process's rows, however many processes wrote them."""
        paths = [folder / f"{name}.safetensors" for name in files]
        is_sharded_file = set(files) != set(PARTS)
        if not is_sharded_file:
            parts = {path.stem: _tensors(path) for path in paths}
            if self._group.world > 1:
                parts["optimizer"] = with_all_rows(parts["optimizer"], parameters)
            if not is_sharded(parameters):
                return parts
        from bertie.training.sharded_state import read_shards, rows_of

        if is_sharded_file:
            return _split(read_shards(paths, parameters, self._group))
        return _split(rows_of(_joined(parts), parameters, self._group))

    def _numbered(self) -> dict[int, Path]:
        found = ((_STATE.fullmatch(path.name), path) for path in self._folder.glob("state-*"))
        return {int(name[1]): path for name, path in found if name}

    def _path(self, number: int, permanent: bool = False) -> Path:
        return self._folder / f"state-{number:06}{_PERMANENT if permanent else ''}"

    def _best(self, step: int) -> Path:
        return self._folder / f"best-{step:08}.safetensors"


def _write(parts: Parts, folder: Path | None) -> dict[str, int]:
    assert folder is not None
    for part, tensors in parts.items():
        write_tensors(tensors, folder / f"{part}.safetensors")
    return {part: _checksum(folder / f"{part}.safetensors") for part in parts}


def _joined(parts: Parts) -> dict[str, Tensor]:
    return {f"{part}/{name}": each for part, tensors in parts.items() for name, each in tensors.items()}


def _split(tensors: Mapping[str, Tensor]) -> Parts:
    parts: Parts = {part: {} for part in PARTS}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    return parts


def _checked_values(folder: Path) -> dict[str, Any]:
    values = read_json(folder / "state.json", "training state")
    if values.get("version") != VERSION:
        raise CheckpointError(
            f"the training state {str(folder)!r} has version {values.get('version')!r}, but this release of bertie "
            f"reads version {VERSION}; resume with the release that wrote it"
        )
    sums = values.get("sums")
    named = isinstance(sums, dict) and (sums.keys() == set(PARTS) or all(map(_SHARD.fullmatch, sums)))
    if not sums or not named or not all(isinstance(values.get(name), dict) for name in ("history", "identity")):
        raise CheckpointError(f"the training state {str(folder)!r} is damaged (state.json)")
    return values


def _verify_checksums(folder: Path) -> None:
    sums = _checked_values(folder)["sums"]
    for name, total in sums.items():
        path = folder / f"{name}.safetensors"
        if not path.is_file() or _checksum(path) != total:
            raise CheckpointError(f"the training state {str(folder)!r} is damaged ({path.name})")


def _tensors(path: Path) -> dict[str, Tensor]:
    file = SafetensorsFile(path)
    return {name: file.tensor(name) for name in file.infos}


def _checksum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            total = zlib.crc32(block, total)
    return total
