"""The folder of a run: locked for one process, and refused if it has other contents."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from bertie.errors import InputError, Stopped, spelled
from bertie.files import is_leftover, remove_leftovers
from bertie.locking import LOCK, only_process_in
from bertie.run_files import REPORT, RUN, STATE
from bertie.training.distributed import is_first


@contextmanager
def exclusive_run(folder: Path | None, refuse: Callable[[set[str]], None]) -> Iterator[None]:
    """Lock the folder of a run for this process within the block, and say how to resume the run if it is stopped."""
    if folder is None:
        yield
        return
    with only_process_in(folder) if is_first() else nullcontext():
        refuse(_names_in(folder))
        if is_first():
            remove_leftovers(folder)
        try:
            yield
        except KeyboardInterrupt as stopped:
            if str(stopped) or not _names_in(folder):
                raise
            code = getattr(stopped, "exit_code", 130)
            raise Stopped(
                f"The run was stopped; {spelled('resume', True)} continues from {str(folder)!r}.", code - 128
            ) from stopped


def refuse_other_content(folder: Path | None, names: set[str], prefixes: tuple[str, ...] = ()) -> None:
    """Refuse a folder unless it is empty or its ``names`` show an unfinished run: a plan, a state, or a prefix."""
    refuse_finished(folder, names)
    if names and not any(name in (RUN, STATE) or name.startswith(prefixes) for name in names):
        raise InputError(
            f"{str(folder)!r} is not empty and holds no run of bertie; give another folder with {spelled('out')}."
        )


def refuse_finished(folder: Path | None, names: set[str], hint: str = "") -> None:
    """Refuse a folder whose ``names`` show a finished run; ``hint`` says how to continue it."""
    if REPORT in names:
        raise InputError(
            f"{str(folder)!r} holds a finished run; {hint}give another folder with {spelled('out')}, or remove "
            "this one."
        )


def _names_in(folder: Path) -> set[str]:
    """Return the names in a run's folder; none if there is no such folder yet."""
    if not folder.is_dir():
        return {folder.name} if folder.exists() else set()
    names = {path.name for path in folder.iterdir()}
    return {name for name in names if name != LOCK and not is_leftover(name)}
