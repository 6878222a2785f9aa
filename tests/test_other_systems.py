"""Windows, as far as Linux can play it: no module needs what only POSIX has; files are written and folders locked."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from drawn_model import write_model

import bertie
from bertie.errors import InputError
from bertie.files import atomic, atomic_folder
from bertie.locking import LOCK, only_process_in

fcntl = pytest.importorskip("fcntl", reason="Windows is played on other systems")
SOURCE = Path(bertie.__file__).parent
# what other packages import of the system comes first; then what Windows has not goes, and bertie is imported
PROGRAM = """
import ctypes, importlib, mmap, os, pathlib, signal, socket, sqlite3, subprocess, sys, tempfile, threading
import huggingface_hub, numpy, numpy.testing, rich.console, tokenizers, typer.testing
others = "matplotlib.pyplot optuna prometheus_client pyarrow scipy.stats sklearn.base starlette.testclient torch"
for name in f"{others} uvicorn.protocols.http.httptools_impl".split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
if "torch" in sys.modules:
    import torch.distributed.checkpoint

for name in ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
for module, names in (
    (os, "fork forkpty getuid geteuid killpg nice register_at_fork sched_getaffinity setsid statvfs sysconf uname"),
    (signal, "SIGHUP SIGKILL SIGUSR1 SIGALRM alarm pause setitimer"),
    (mmap, "MAP_PRIVATE MAP_ANONYMOUS MAP_SHARED MADV_HUGEPAGE MADV_DONTNEED"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "win32"

class Library(ctypes.CDLL):
    def __init__(self, name, *arguments, **options):
        if name is None:
            raise TypeError("LoadLibrary() argument 1 must be str, not None")
        super().__init__(name, *arguments, **options)

ctypes.CDLL = Library
for name in sys.argv[2:]:
    importlib.import_module(name)

from bertie.engine import Engine
from bertie.pipelines import pipeline

embed = pipeline("embed", Engine.open(sys.argv[1]), sys.argv[1])
assert embed(["a b c", "h"])[0].shape == (36,)
print(embed.explain())
"""


def test_every_module_is_imported_and_an_answer_made_without_posix(tmp_path: Path) -> None:
    names = [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(SOURCE.rglob("*.py"))
        if path.name != "__main__.py"
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(write_model(tmp_path)), *names], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "on the engine" in done.stdout


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its locks, which are of bytes; its calls, which open no folder and write out no file opened to be read."""

    def lock(descriptor: int, how: int, size: int) -> None:
        assert (how, size) == (2, 1)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    def open_file(path: str, flags: int, *mode: int, open: Callable[..., int] = os.open) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied")
        return open(path, flags, *mode)

    def sync(descriptor: int, fsync: Callable[[int], None] = os.fsync) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        fsync(descriptor)

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=lock, LK_NBLCK=2))
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(sys, "platform", "win32")


def test_windows_writes_out_what_it_writes(windows: None, tmp_path: Path) -> None:
    with atomic(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    with atomic_folder(tmp_path / "folder") as made:
        (made / "inside").write_text("whole")
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["file", "folder", "inside"]


def open_files() -> Iterator[os.stat_result]:
    for descriptor in range(100):
        with suppress(OSError):
            yield os.fstat(descriptor)


def test_windows_lets_one_process_in(windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, unlink = tmp_path / "run", Path.unlink

    def unlink_closed(path: Path, missing_ok: bool = False) -> None:
        if path.exists() and any(os.path.samestat(os.stat(path), each) for each in open_files()):
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_closed)
    for _ in range(2):
        with only_process_in(run):
            assert (run / LOCK).exists()
            with pytest.raises(InputError, match="Another process is at work"), only_process_in(run):
                raise AssertionError
        assert not run.exists()
