"""Where commands write: to standard output, or to a file that is replaced when all is there."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie.errors import InputError, Stopped
from bertie.files import atomic

if TYPE_CHECKING:
    import numpy as np


@contextmanager
def answers_in(output: Path | None, *inputs: Path | None) -> Iterator[None]:
    """Let what the block writes to standard output stand in a file instead, once the block has ended well.

    Raises:
        InputError: the file is one of the inputs; or none is named, and standard output is closed.
        CheckpointError: it cannot be written; said before the block begins.
    """
    if output is None:
        if sys.stdout is None:
            raise InputError("Standard output is closed; name a file for the answers with --output.")
        yield
        return
    refuse_input(output, *inputs)
    with _all_of(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file, redirect_stdout(file):
        yield


@contextmanager
def _all_of(output: Path) -> Iterator[Path]:
    """As `atomic`, saying what becomes of the file if the block is stopped."""
    try:
        with atomic(output) as temporary:
            yield temporary
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "exit_code", 130) - 128
        raise Stopped(f"Stopped before all was there; {str(output)!r} is as it was.", number) from stopped


def refuse_input(output: Path, *inputs: Path | None) -> None:
    """Refuse to write over what is read.

    Raises:
        InputError: the output is one of the inputs, by whatever name.
    """
    for path in inputs:
        if path is not None and output.exists() and path.exists() and output.samefile(path):
            raise InputError(f"--output {str(output)!r} is the file that is read; name another.")


def numbers(vector: "np.ndarray[Any, Any]") -> list[float]:
    """Return a float32 vector as the shortest numbers that name the same float32 values."""
    return vector.astype(str).astype(float).tolist()


def write_array(path: Path, compute: Callable[[], "np.ndarray[Any, Any]"]) -> "np.ndarray[Any, Any]":
    """Write the array that ``compute`` returns to a .npy file, which holds its old content or all of the new.

    Raises:
        CheckpointError: the file cannot be written; said before anything is computed.
    """
    import numpy

    with _all_of(path) as temporary:
        array = compute()
        with temporary.open("wb") as file:
            # not numpy.save, which writes past Python and cannot say why it failed
            numpy.lib.format.write_array_header_1_0(file, numpy.lib.format.header_data_from_array_1_0(array))
            file.write(numpy.ascontiguousarray(array).data)
    return array
