"""``bertie pretrain``: from raw text to a model by commands, and the same model after ``kill -9``."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from labelled import FILES

from bertie.training import drawing


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> Path:
    """A folder with prepared data of 16 documents, and a small config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drawing, "why_no_plots", lambda: "it takes long")
    for name in ("books.txt", "my-config.json"):
        (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    assert run("train-tokenizer", "books.txt", "--size", 120, "--out", "words").code == 0
    given = ("--documents", "blank-lines", "--heldout", 0.2, "--workers", 1)
    assert run("prepare", "books.txt", "-t", "words", *given, "--out", "data").code == 0
    return tmp_path


GIVEN = ("--data", "data", "--batch-tokens", 120, "--device", "cpu")


def test_from_scratch_and_continued(place: Path, run: Callable[..., Any]) -> None:
    options = (
        "--length",
        16,
        "--steps",
        3,
        "--masking",
        0.3,
        "--schedule",
        "wsd",
        "--dropout",
        0,
        "--keep-every",
        2,
        "--seed",
        1,
    )
    ran = run("pretrain", *GIVEN, "--config", "my-config.json", "--out", "new", *options)
    assert ran.code == 0, ran.err
    (record,) = ran.records
    assert (record["model"], record["steps"]) == ("new", 3)
    assert set(record["heldout"]) == {"loss", "accuracy", "next_sentence_accuracy"}
    assert ran.err.endswith("bertie: the report is new/report.md\n")
    assert (place / "new" / "state" / "state-000001-stays").is_dir()
    masked = run("fill-mask", "The film is [MASK].", "--model", "new", "-k", 2)
    assert masked.code == 0, masked.err
    ran = run(
        "pretrain", *GIVEN, "--from", "new", "--out", "more", "--budget", "3s", "--length", 16, "--no-next-sentence"
    )
    assert ran.code == 0, ran.err
    assert set(ran.records[0]["heldout"]) == {"loss", "accuracy"}
    ran = run("pretrain", *GIVEN, "--from", "new", "--out", "more", "--steps", 2, "--resume")
    assert (ran.code, ran.out) == (2, "")
    assert "holds a finished run" in ran.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--config", "mini"), "Say how long to train: --steps, or --budget."),
        (("--steps", 1), "Give either --config or --from: a new model, or one to continue from."),
        (("--config", "mini", "--budget", "soon"), "--budget is 'soon'; write a number and s, m, h or d, such as 30m."),
        (("--config", "mini", "--budget", "1h", "--steps", 1), "--steps 1 and --budget 3600.0 exclude each other"),
        (("--config", "mini", "--steps", 1, "--length", "a"), "--length is 'a'; write a number, or several"),
        (("--config", "tiny", "--steps", 1), "--config is 'tiny'; allowed: mini, base, large, or a config file"),
        (
            ("--config", "mini", "--steps", 1, "--length", 4),
            "--length is '4'; give a number of at least 5",
        ),
        (("--config", "mini", "--steps", 1, "--length", 513), "The length is 513, but the model has 512 positions"),
        (("--config", "mini", "--steps", 1, "--teacher", "none"), "there is no folder 'none' here"),
        (("--config", "mini", "--steps", 1, "--teacher-weight", 2), "there is no teacher; give --teacher too."),
        (("--config", "mini", "--budget", "infs"), "--budget is inf; allowed: a number above 0 or None."),
        (("--config", "mini", "--steps", 1, "--masked-units", "word"), "Did you mean 'words'?"),
        (("--config", "mini", "--steps", 1, "--data", "none"), "'none' is not prepared data"),
    ],
)
def test_mistakes_are_a_sentence(
    place: Path, run: Callable[..., Any], options: tuple[object, ...], sentence: str
) -> None:
    given = GIVEN if "--data" not in options else GIVEN[2:]
    ran = run("pretrain", *given, "--out", "new", *options)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert not (place / "new").exists()


def bertie(*arguments: object) -> "subprocess.Popen[str]":
    program = "import sys; from bertie.cli import main; sys.argv[0] = 'bertie'; main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_is_resumed_to_the_same_model(place: Path, number: signal.Signals) -> None:
    given = ("pretrain", *GIVEN, "--config", "my-config.json", "--steps", 400, "--length", "16,32", "--save-every", 10)
    assert bertie(*given, "--out", "whole").wait(300) == 0
    half = bertie(*given, "--out", "half")
    until(lambda: any((place / "half" / "state").glob("state-00000[5-9]")))
    half.send_signal(number)
    half.communicate(timeout=60)
    assert half.returncode == (-9 if number == signal.SIGKILL else 143)
    assert not (place / "half" / "report.md").exists()
    assert bertie(*given, "--out", "half", "--resume").wait(300) == 0
    one, other = ((place / name / "model.safetensors").read_bytes() for name in ("whole", "half"))
    assert one == other


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2400):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain")
