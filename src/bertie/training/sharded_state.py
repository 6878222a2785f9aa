"""Tensors of which each process has some rows: each writes a file of its own, and any number of processes reads them.

A piece is named by its tensor and by the row that it begins with: ``model/classifier.weight@4``.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.errors import CheckpointError
from bertie.files import atomic
from bertie.training.distributed import Processes
from bertie.training.param_groups import own_rows

# of each tensor: where its pieces begin, and their rows
Pieces = Mapping[str, Sequence[tuple[int, Tensor]]]


def write_shards(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor], path: Path, group: Processes) -> None:
    """Write this process's rows of ``tensors`` into ``path``; what all have alike is written by the first."""
    pieces: dict[str, Tensor] = {}
    for name, rows in tensors.items():
        parameter = _parameter(name, parameters)
        if parameter is not None and rows.shape == own_rows(parameter).shape != parameter.shape:
            pieces |= {f"{name}@{_own(parameter, group).start}": rows} if len(rows) else {}
        elif group.rank == 0:
            pieces[f"{name}@0"] = rows
    with atomic(path) as temporary:
        write_tensors(pieces, temporary)


def read_pieces(paths: Sequence[Path]) -> Pieces:
    """Return the pieces in these files, mapped; releases before wrote all places of a piece: ``@4,0``."""
    found: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
    for path in paths:
        file = SafetensorsFile(path)
        for piece in file.infos:
            name, _, place = piece.rpartition("@")
            start = place.partition(",")[0] or "0"
            if not start.isdecimal():
                raise CheckpointError(f"{str(path)!r} is no part of a training state: it holds {piece[:60]!r}")
            found[name].append((int(start), file.tensor(piece)))
    return found


def rows_of(pieces: Pieces, parameters: Mapping[str, Tensor], group: Processes) -> dict[str, Tensor]:
    """Return this process's rows of all tensors, which another number of processes may have written."""
    found: dict[str, Tensor] = {}
    for name, parts in pieces.items():
        parts = sorted(parts, key=lambda part: part[0])
        if not parts[0][1].dim():
            found[name] = parts[0][1]
            continue
        (start, last), parameter = parts[-1], _parameter(name, parameters)
        shape = (start + len(last), *last.shape[1:])
        is_divided = parameter is not None and parameter.shape == shape
        own = _own(parameter, group) if parameter is not None and is_divided else slice(0, shape[0])
        found[name] = torch.cat([rows[max(0, own.start - at) : max(0, own.stop - at)] for at, rows in parts])
    return found


def _parameter(name: str, parameters: Mapping[str, Tensor]) -> Tensor | None:
    """Return the parameter that ``model/NAME`` or ``optimizer/exp_avg.NAME`` is of."""
    part, _, rest = name.partition("/")
    return parameters.get(rest if part == "model" else rest.partition(".")[2])


def _own(parameter: Tensor, group: Processes) -> slice:
    """Return which rows of a parameter this process has: all, or as a `DTensor` divides them."""
    count = len(parameter)
    if not hasattr(parameter, "to_local"):
        return slice(0, count)
    size = -(-count // group.world)  # of few rows the last processes have none
    return slice(min(group.rank * size, count), min((group.rank + 1) * size, count))
