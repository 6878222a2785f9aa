"""locking: one process per folder, and a lock that is released when its process ends."""

import os
import signal
import threading
from pathlib import Path

import pytest

from bertie.errors import InputError
from bertie.locking import LOCK, only_process_in


def test_a_lock_is_taken_and_released_without_a_trace(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    for _ in range(2):
        with only_process_in(folder):
            assert [path.name for path in folder.iterdir()] == [LOCK]
            with pytest.raises(InputError, match="Another process is at work"), only_process_in(folder):
                raise AssertionError
        assert not folder.exists()
    folder.mkdir()
    with only_process_in(folder):
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]


@pytest.mark.skipif(os.name == "nt", reason="forks")
def test_a_killed_process_keeps_no_lock(tmp_path: Path) -> None:
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with only_process_in(tmp_path):
            os.write(told, b"x")
            signal.pause()
    os.read(ready, 1)
    with pytest.raises(InputError, match="Another process"), only_process_in(tmp_path):
        raise AssertionError
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / LOCK).exists()
    with only_process_in(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_one_of_many_gets_it(tmp_path: Path) -> None:
    inside, most, refused = [], [], []

    def attempt() -> None:
        for _ in range(100):
            try:
                with only_process_in(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except InputError:
                refused.append(1)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) + len(refused) == 400
    assert set(most) == {1}


def test_a_disk_without_locks_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        with only_process_in(tmp_path):
            pass
    assert caplog.text.count("No locks available") == 1
