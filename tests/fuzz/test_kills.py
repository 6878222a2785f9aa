"""A fine-tuning that is killed, or whose disk is full, at any of its file operations goes on to the same weights."""

import contextlib
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from films import write_start
from operations import each_operation
from tiny_run import finetune, same_weights

from bertie.errors import CheckpointError, InputError
from bertie.training import drawing

resource = pytest.importorskip("resource", reason="limits of POSIX")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")]
# beyond this, each file operation of the run has been tried
MOST = 500


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start"))


@pytest.fixture(autouse=True)
def nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "why_no_plots", lambda: "it takes long")


@pytest.fixture(scope="module")
def whole(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "why_no_plots", lambda: "it takes long")
        finetune(start, out)
    return out


def in_a_child(work: Callable[[], object]) -> int:
    """Return what a child process that does the work ends with: 0, 1 after an error it should not raise, or -signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def finished(start: Path, out: Path, whole: Path) -> None:
    """Go on with a run, unless all that was left to do was to tidy up, and hold that it ends as the whole one did."""
    with contextlib.suppress(InputError):  # "holds a finished run"
        finetune(start, out)
    same_weights(out, whole)
    assert {path.name for path in whole.iterdir()} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_before_each_operation(start: Path, whole: Path, tmp_path: Path, number: signal.Signals) -> None:
    for stop_at in range(MOST):
        out, done = tmp_path / f"run-{stop_at}", 0

        def stop(stop_at: int = stop_at) -> None:
            nonlocal done
            if done == stop_at:
                os.kill(os.getpid(), number)
            done += 1

        def work(out: Path = out, stop: Callable[[], None] = stop) -> None:
            with each_operation(out, stop), contextlib.suppress(KeyboardInterrupt):
                finetune(start, out)

        code = in_a_child(work)
        print(f"{number.name} before operation {stop_at}: exit {code}")
        finished(start, out, whole)
        if number == signal.SIGKILL and code == 0:
            return
        assert code == (-number if number == signal.SIGKILL else 0)
        if number == signal.SIGINT and stop_at > 120:
            return
    raise AssertionError("the run has no end")


def test_a_disk_that_fills_up_at_each_size(start: Path, whole: Path, tmp_path: Path) -> None:
    sizes = sorted({path.stat().st_size for path in whole.rglob("*") if path.is_file()})
    for limit in sorted({1, *(size - 1 for size in sizes), *range(500, sizes[-1], 4_000)}):
        out = tmp_path / f"run-{limit}"

        def work(out: Path = out, limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                finetune(start, out)
            except CheckpointError as error:
                assert "File too large; files may not grow that large here" in str(error)  # noqa: PT017
                assert ".tmp" not in str(error)  # noqa: PT017
                assert not list(out.rglob(".*.tmp")), "room was not given back"

        print(f"files of at most {limit} bytes")
        assert in_a_child(work) == 0
        finished(start, out, whole)
