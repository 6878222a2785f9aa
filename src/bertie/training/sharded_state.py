"""Tensors of which each process has some rows: each writes a file of its own, and any number of processes reads them.

A piece in a file is named by its tensor and by where in it the piece begins: ``model/classifier.weight@4,0``.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.errors import BertieError, CheckpointError
from bertie.files import atomic
from bertie.training.distributed import Processes
from bertie.training.param_groups import is_sharded, own_rows


def write_shards(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor], path: Path, group: Processes) -> None:
    """Write this process's rows of ``tensors`` into ``path``; all processes do so together.

    A tensor is divided as the parameter is whose name its own ends with; what is not divided the first one writes.
    """
    pieces: dict[str, Tensor] = {}
    for name, rows in tensors.items():
        parameter, begin, is_own = _parameter(name, parameters), 0, group.rank == 0
        if parameter is not None and rows.shape == own_rows(parameter).shape != parameter.shape:
            begin, is_own = _own_range(len(parameter), group).start, len(rows) > 0
        if is_own:
            place = ",".join(map(str, [begin, *[0] * rows.dim()][: rows.dim()]))
            pieces[f"{name}@{place}"] = rows
    with _failures_said(group), atomic(path) as temporary:
        write_tensors(pieces, temporary)


def read_shards(paths: Sequence[Path], parameters: Mapping[str, Tensor], group: Processes) -> dict[str, Tensor]:
    """Return this process's rows of all tensors in these files, which another number of processes may have written."""
    pieces: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
    with _failures_said(group):
        for path in paths:
            file = SafetensorsFile(path)
            for piece in file.infos:
                name, begin = _place(path, piece)
                pieces[name].append((begin, file.tensor(piece)))
    return {name: _own_part(name, found, parameters, group) for name, found in pieces.items()}


def rows_of(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor], group: Processes) -> dict[str, Tensor]:
    """Return this process's rows of whole tensors."""
    return {name: _own_part(name, [(0, whole)], parameters, group) for name, whole in tensors.items()}


def _parameter(name: str, parameters: Mapping[str, Tensor]) -> Tensor | None:
    """Return the parameter that ``model/NAME`` or ``optimizer/exp_avg.NAME`` is of."""
    part, _, rest = name.partition("/")
    return parameters.get(rest if part == "model" else rest.partition(".")[2])


def _own_range(count: int, group: Processes) -> slice:
    """Return which of ``count`` rows are this process's, as `DTensor` divides them: of few, the last have none."""
    each = -(-count // group.world)
    return slice(min(group.rank * each, count), min((group.rank + 1) * each, count))


def _own_part(
    name: str, pieces: list[tuple[int, Tensor]], parameters: Mapping[str, Tensor], group: Processes
) -> Tensor:
    """Return this process's rows of a tensor, which is in ``pieces`` with the row at which each begins."""
    parameter, first = _parameter(name, parameters), pieces[0][1]
    if first.dim() == 0:
        return first
    pieces, count = sorted(pieces, key=lambda piece: piece[0]), 0
    for begin, rows in pieces:
        if begin != count:
            raise CheckpointError(f"the training state is damaged: {name!r} has no row {count}, or has it twice")
        count += len(rows)
    is_divided = (
        parameter is not None and is_sharded({name: parameter}) and parameter.shape == (count, *first.shape[1:])
    )
    own = _own_range(count, group) if is_divided else slice(0, count)
    parts = [rows[max(own.start - begin, 0) : max(own.stop - begin, 0)] for begin, rows in pieces]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _place(path: Path, piece: str) -> tuple[str, int]:
    """Return the tensor that a piece is of, and the row of it at which the piece begins."""
    name, _, place = piece.rpartition("@")
    try:
        return name, int(place.partition(",")[0] or 0)
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is no part of a training state: it holds {piece[:60]!r}") from error


@contextmanager
def _failures_said(group: Processes) -> Iterator[None]:
    """Raise what went wrong in any of the processes in all of them."""
    problem: BertieError | None = None
    try:
        yield
    except BertieError as error:
        problem = error
    for each in group.gather(problem):
        if each is not None:
            raise each
