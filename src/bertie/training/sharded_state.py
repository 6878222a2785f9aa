"""Tensors of which each process has some rows, in one safetensors file a process, which any number of them can read.

A piece is named by its tensor and by where in it the piece begins: ``model/classifier.weight@4,0``.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.errors import BertieError, CheckpointError
from bertie.files import atomic
from bertie.training.distributed import Processes


def write_shards(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor], path: Path, group: Processes) -> None:
    """Write this process's rows of ``tensors`` into ``path``; all processes do so together.

    A tensor is divided as the parameter is whose name its own ends with; of one that is not, the first process writes
    all.
    """
    pieces: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        rows = _rows_of(_parameter(name, parameters), group)
        begin, writes = 0, group.rank == 0
        if rows is not None and tensor.dim() and len(tensor) == len(rows):
            begin, writes = rows.start, len(rows) > 0
        if writes:
            places = [begin, *[0] * (tensor.dim() - 1)][: tensor.dim()]
            pieces[f"{name}@{','.join(map(str, places))}"] = tensor
    with _failing_together(group), atomic(path) as temporary:
        write_tensors(pieces, temporary)


def read_shards(paths: Sequence[Path], parameters: Mapping[str, Tensor], group: Processes) -> dict[str, Tensor]:
    """Return this process's rows of all tensors in these files, which another number of processes may have written."""
    with _failing_together(group):
        pieces: dict[str, list[_Piece]] = defaultdict(list)
        for path in paths:
            file = SafetensorsFile(path)
            for stored, info in file.infos.items():
                name, begin = _parsed(path, stored)
                pieces[name].append(_Piece(begin, info.shape, file, stored))
        return {name: _joined(_parameter(name, parameters), each, group) for name, each in pieces.items()}


def rows_of(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor], group: Processes) -> dict[str, Tensor]:
    """Return this process's rows of whole tensors."""
    found = dict(tensors)
    for name, whole in tensors.items():
        parameter = _parameter(name, parameters)
        rows = _rows_of(parameter, group)
        if parameter is not None and rows is not None and parameter.shape == whole.shape:
            found[name] = whole[rows.start : rows.stop]
    return found


class _Piece(NamedTuple):
    """Some rows of a tensor in a file, from the row ``begin`` on."""

    begin: int
    shape: tuple[int, ...]
    file: SafetensorsFile
    stored: str

    def read(self, rows: range) -> Tensor:
        """Return those of the ``rows`` of the whole tensor that are in this piece."""
        start, stop = (min(max(each - self.begin, 0), self.shape[0]) for each in (rows.start, rows.stop))
        return self.file.tensor(self.stored)[start:stop]


def _joined(parameter: Tensor | None, pieces: Sequence[_Piece], group: Processes) -> Tensor:
    """Return this process's rows of a tensor in pieces, or all of it where its parameter is not divided like it."""
    first = pieces[0]
    if not first.shape:
        return first.file.tensor(first.stored)
    count, rows = max(each.begin + each.shape[0] for each in pieces), _rows_of(parameter, group)
    if parameter is None or rows is None or parameter.shape != (count, *first.shape[1:]):
        rows = range(count)
    return torch.cat([each.read(rows) for each in sorted(pieces, key=lambda each: each.begin)])


def _rows_of(parameter: Tensor | None, group: Processes) -> range | None:
    """Return which rows of a parameter this process has, as DTensor divides them; None if it has all."""
    if parameter is None or not hasattr(parameter, "to_local"):
        return None
    count = parameter.shape[0]
    most = -(-count // group.world)  # of few rows the last processes have none
    return range(min(group.rank * most, count), min((group.rank + 1) * most, count))


def _parameter(name: str, parameters: Mapping[str, Tensor]) -> Tensor | None:
    """Return the parameter that ``model/NAME`` or ``optimizer/exp_avg.NAME`` is of."""
    part, _, rest = name.partition("/")
    return parameters.get(rest if part == "model" else rest.partition(".")[2])


def _parsed(path: Path, stored: str) -> tuple[str, int]:
    """Return the tensor that a piece is of, and the row at which it begins."""
    name, _, place = stored.rpartition("@")
    try:
        return name, int(place.partition(",")[0] or 0)
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is not part of a training state: it holds {stored[:60]!r}") from error


@contextmanager
def _failing_together(group: Processes) -> Iterator[None]:
    """Raise an error of any process in all of them, so that none waits for one that has ended."""
    problem = ""
    try:
        yield
    except (OSError, RuntimeError) as error:
        own = isinstance(error, BertieError)
        problem = str(error) if own else f"the training state cannot be written or read: {error}"
    if first := next(filter(None, group.gather(problem)), ""):
        raise CheckpointError(first)
