"""--quiet and --verbose: what every command writes to standard error."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from bertie.cli import app
from bertie.cli.verbosity import Verbosity, say
from bertie.progress import lines, logger, progress

COMMANDS = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
LABELS = ("classify", "The striker scored twice.", "--labels", "sport,politics")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_both(name: str) -> None:
    options = [option for one in COMMANDS[name].params for option in one.opts]
    assert {"-q", "--quiet", "-v", "--verbose"} <= set(options)


def test_verbose_says_what_computes_and_when(run: Callable[..., Any]) -> None:
    plain, verbose = run(*LABELS), run(*LABELS, "--verbose")
    assert verbose.out == plain.out
    assert "on the engine" not in plain.err
    said = verbose.err.splitlines()
    computed, finished = (next(line for line in said if word in line) for word in ("on the engine", "finished after"))
    assert re.match(r"bertie: \d\d:\d\d:\d\d ", computed)
    assert "all-MiniLM-L6-v2: BertModel on the engine: " in computed
    assert finished == said[-1]


def test_quiet_keeps_answers_and_warnings(run: Callable[..., Any], tmp_path: Path) -> None:
    texts, vectors = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    texts.write_text("A cat sat on the mat.\n", encoding="utf-8")
    given = ("embed", "--input", texts, "--output", vectors)
    assert "1 vector of 384 numbers" in run(*given).err
    assert run(*given, "--quiet") == (0, "", "")
    assert vectors.exists()
    ran = run("embed", str(texts), "-q", "--to", "jsonl")
    assert "is read as a text" in ran.err
    assert len(ran.records) == 1
    ran = run("embed", "a", "-q", "--model", "/nowhere")
    assert (ran.code, ran.err[:8]) == (2, "bertie: ")


def test_quiet_keeps_what_was_guessed(run: Callable[..., Any], tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("review,stars\n" + "".join(f"A film {n}.,{'good' if n % 2 else 'bad'}\n" for n in range(40)))
    ran = run("finetune", "text-classification", "--train", rows, "--dry-run", "--quiet")
    assert ran.err.splitlines() == [
        "bertie: No model is named: training starts from sentence-transformers/all-MiniLM-L6-v2.",
        "bertie: text = review; label = stars; one label, 2 classes: bad, good",
    ]


def test_both_contradict_each_other(run: Callable[..., Any]) -> None:
    ran = run("version", "-q", "-v")
    assert (ran.code, ran.err) == (2, "bertie: --quiet and --verbose are both given; give one of them.\n")


def test_settings_of_a_command_end_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    before = logger.level, lines.level, lines.disabled, list(logger.handlers)
    with Verbosity(verbose=True).applied():
        assert logger.isEnabledFor(logging.INFO)
    with Verbosity(quiet=True).applied():
        say("for a person")
        with progress("texts", 10) as advance:
            advance(5)
        lines.info("half done")
        logger.warning("odd")
    assert (logger.level, lines.level, lines.disabled, list(logger.handlers)) == before
    assert capsys.readouterr().err.splitlines()[1:] == ["bertie: odd"]
