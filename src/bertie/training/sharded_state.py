"""Sharded training states, through ``torch.distributed.checkpoint``, which reshards them for other process counts.

Its own files contain pickles; here each process writes one safetensors file, in which a piece is named by its tensor
and its offsets: ``model/classifier.weight@4,0``.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.distributed.tensor import DTensor
from torch.futures import Future

from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.errors import BertieError, CheckpointError
from bertie.files import atomic
from bertie.training.distributed import Processes
from bertie.training.param_groups import own_rows


def write_shards(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor], path: Path, group: Processes) -> None:
    """Write this process's rows of ``tensors`` to ``path``; all processes call this together.

    A tensor is sharded like the parameter that it belongs to by its name.
    """
    pieces = {name: _sharded_like(_parameter(name, parameters), tensor) for name, tensor in tensors.items()}
    with _failures_explained():
        save(pieces, storage_writer=_Writer(path), process_group=group.control)


def read_shards(paths: Sequence[Path], parameters: Mapping[str, Tensor], group: Processes) -> dict[str, Tensor]:
    """Return this process's rows of all tensors in these files, written by any number of processes."""
    reader = _Reader(paths)
    found: dict[str, Tensor] = {}
    for name, saved in reader.metadata.state_dict_metadata.items():
        assert isinstance(saved, TensorStorageMetadata)
        parameter, dtype = _parameter(name, parameters), saved.properties.dtype
        if isinstance(parameter, DTensor) and parameter.shape == saved.size:
            found[name] = _sharded_like(parameter, torch.empty_like(parameter.to_local(), dtype=dtype))
        else:
            found[name] = torch.empty(saved.size, dtype=dtype)
    with _failures_explained(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        load(found, storage_reader=reader, process_group=group.control, no_dist=group.world == 1)
    return {name: own_rows(tensor) for name, tensor in found.items()}


def rows_of(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor], group: Processes) -> dict[str, Tensor]:
    """Return this process's rows of unsharded tensors."""
    found = dict(tensors)
    for name, whole in tensors.items():
        parameter = _parameter(name, parameters)
        if isinstance(parameter, DTensor) and parameter.shape == whole.shape:
            chunks = whole.chunk(group.world)  # as DTensor does: with few rows, the last processes get none
            found[name] = chunks[group.rank] if group.rank < len(chunks) else whole[:0]
    return found


def _parameter(name: str, parameters: Mapping[str, Tensor]) -> Tensor | None:
    """Return the parameter that ``model/NAME`` or ``optimizer/exp_avg.NAME`` belongs to."""
    part, _, rest = name.partition("/")
    return parameters.get(rest if part == "model" else rest.partition(".")[2])


def _sharded_like(parameter: Tensor | None, rows: Tensor) -> Tensor:
    if not isinstance(parameter, DTensor) or rows.shape != parameter.to_local().shape:
        return rows
    return DTensor.from_local(
        rows,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


class _Writer(StorageWriter):
    def __init__(self, path: Path) -> None:
        self._path = path

    def reset(self, checkpoint_id: Any = None) -> None: ...

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None: ...

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> "Future[list[WriteResult]]":
        pieces: dict[str, Tensor] = {}
        for item in plan.items:
            assert item.tensor_data is not None
            offsets = ",".join(map(str, item.tensor_data.chunk.offsets))
            pieces[f"{item.index.fqn}@{offsets}"] = planner.resolve_data(item)  # type: ignore[assignment]
        with atomic(self._path) as temporary:
            write_tensors(pieces, temporary)
        return _done([WriteResult(item.index, 0, None) for item in plan.items])

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None: ...

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:  # noqa: ARG003
        return True


class _Reader(StorageReader):
    def __init__(self, paths: Sequence[Path]) -> None:
        self._pieces: dict[MetadataIndex, tuple[SafetensorsFile, str]] = {}
        chunks: dict[str, list[ChunkStorageMetadata]] = defaultdict(list)
        dtypes: dict[str, torch.dtype] = {}
        for path in paths:
            file = SafetensorsFile(path)
            for piece, info in file.infos.items():
                name, offsets = _parse_piece(path, piece)
                chunks[name].append(ChunkStorageMetadata(torch.Size(offsets), torch.Size(info.shape)))
                dtypes[name] = getattr(torch, info.dtype)
                self._pieces[MetadataIndex(name, offsets)] = file, piece
        self.metadata = Metadata(
            {
                name: TensorStorageMetadata(TensorProperties(dtypes[name]), _size(each), each)
                for name, each in chunks.items()
            }
        )

    def reset(self, checkpoint_id: Any = None) -> None: ...

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:  # noqa: ARG002
        return self.metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None: ...

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> "Future[None]":
        for item in plan.items:
            file, piece = self._pieces[item.storage_index]
            part = file.tensor(piece)
            for dim, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                part = part.narrow(dim, start, length)
            target = planner.resolve_tensor(item).detach()
            target.copy_(part)
            planner.commit_tensor(item, target)
        return _done(None)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:  # noqa: ARG003
        return True


def _parse_piece(path: Path, piece: str) -> tuple[str, list[int]]:
    """Return the name of a piece's tensor, and the piece's offsets in it."""
    name, _, offsets = piece.rpartition("@")
    try:
        return name, [int(offset) for offset in offsets.split(",") if offset]
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is not part of a training state: it contains {piece[:60]!r}") from error


def _size(chunks: Sequence[ChunkStorageMetadata]) -> torch.Size:
    ends = [[start + length for start, length in zip(each.offsets, each.sizes, strict=True)] for each in chunks]
    return torch.Size(map(max, zip(*ends, strict=True)))


def _done(value: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(value)
    return future


@contextmanager
def _failures_explained() -> Iterator[None]:
    """Raise the error of the process that failed, which PyTorch reports to all, as one sentence."""
    try:
        yield
    except CheckpointException as error:
        first = next(iter(error.failures.values()))[0]
        if isinstance(first, BertieError):
            raise first from error
        raise CheckpointError(f"the training state cannot be written or read: {first}") from error
