"""Commands that are interrupted, without streams, or on a full disk: one sentence, and nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

resource = pytest.importorskip("resource", reason="limits of POSIX")
Run = Callable[..., Any]
BERTIE = [sys.executable, "-c", "from bertie.cli import main; main()"]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals, streams and limits of POSIX")


def slow(value: Any) -> Any:
    """One more process to start."""
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("a good film\nthe plot is dull\n")
    return path


def test_answers_are_written_to_a_file(run: Run, texts: Path, tmp_path: Path, mini: Path) -> None:
    masked = tmp_path / "masked.txt"
    masked.write_text("a [MASK] film\n")
    for command, output, records in (
        (("fill-mask", "-m", mini, "-i", masked), "words.jsonl", 1),
        (("search", texts, "dull films"), "hits.jsonl", 2),
        (("embed", "-i", texts), "v.npy", 0),
    ):
        shown = run(*command)
        ran = run(*command, "--output", tmp_path / output)
        assert (ran.code, ran.out) == (0, "")
        if records:
            assert [json.loads(line) for line in (tmp_path / output).read_text().splitlines()] == shown.records
            assert len(shown.records) == records
    assert np.load(tmp_path / "v.npy").shape == (2, 384)
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("command", [("embed", "-i"), ("search",), ("fill-mask", "-i")])
def test_the_input_is_never_overwritten(run: Run, texts: Path, tmp_path: Path, mini: Path, command: tuple) -> None:
    (tmp_path / "link").symlink_to(texts)
    more = ("a",) if command[0] == "search" else ("-m", mini) if command[0] == "fill-mask" else ()
    for output in (texts, tmp_path / "link"):
        ran = run(*command, texts, *more, "--output", output)
        assert ran.code == 2
        assert "is also the input; name another file" in ran.err
    assert texts.read_text().startswith("a good film")


@pytest.mark.parametrize("closed", [slow("<&-"), slow(">&-"), "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(texts: Path, tmp_path: Path, closed: str) -> None:
    program = f"exec {sys.executable} -c 'from bertie.cli import main; main()' \"$@\" {closed}"

    def bertie(*arguments: object) -> Any:
        return subprocess.run(["sh", "-c", program, "sh", *map(str, arguments)], capture_output=True, text=True)

    ran = bertie("embed", *([] if "<" in closed else ["a"]))
    if closed == "2>&-":
        assert (ran.returncode, len(ran.stdout.splitlines())) == (0, 1)
        assert bertie("embed", "-i", tmp_path / "none").stdout == ""  # messages for the user are not answers
        return
    assert ran.returncode == 2
    assert ran.stdout == ""
    what = "Standard input is closed" if closed == "<&-" else "Standard output is closed"
    assert closed.endswith("2>&-") or ran.stderr.startswith(f"bertie: {what}; ")
    ran = bertie("embed", "-i", texts, "--output", tmp_path / "v.npy")
    assert (ran.returncode, np.load(tmp_path / "v.npy").shape) == (0, (2, 384))


@pytest.mark.parametrize("number", [slow(signal.SIGINT), signal.SIGTERM, slow(signal.SIGHUP)])
def test_an_interrupted_command_leaves_nothing_half_written(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "v.npy").write_bytes(b"old")
    arguments = ["embed", "--output", str(tmp_path / "v.npy")]
    program = subprocess.Popen([*BERTIE, *arguments], stdin=-1, stderr=-1, text=True)
    for _ in range(600):
        if list(tmp_path.glob(".v.npy.*")):
            break
        time.sleep(0.1)
    program.send_signal(number)
    _, said = program.communicate(timeout=60)
    assert program.returncode == 128 + number
    assert said == f"bertie: Stopped before all answers were written; {str(tmp_path / 'v.npy')!r} is unchanged.\n"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"v.npy": b"old"}


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "v.npy").write_bytes(b"old")
    for arguments in (["embed", "--output", str(tmp_path / "v.npy")], ["embed"]):
        with (tmp_path / "out.jsonl").open("wb") as out:
            ran = subprocess.run(
                [*BERTIE, *arguments, *["a text"] * 40],
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
            )
        assert ran.returncode == 2
        assert ran.stderr.count("\n") == 1
        assert "cannot write" in ran.stderr
        assert "File too large; files may not grow that large here; raise the limit" in ran.stderr
        (tmp_path / "out.jsonl").unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"v.npy": b"old"}
