"""Options given twice: an error of every command, unless they may be repeated."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import typer

from bertie.cli import app
from bertie.cli.options import FormatOptions, expand_groups
from bertie.data import Format

COMMANDS = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def options_of(name: str) -> list[Any]:
    return [one for one in COMMANDS[name].params if one.param_type_name == "option" and one.name != "help"]


@pytest.mark.parametrize("name", sorted(filter(options_of, COMMANDS)))
def test_an_option_that_takes_one_value_is_given_once(run: Callable[..., Any], name: str) -> None:
    for option in options_of(name):
        if option.multiple:
            continue
        word = option.opts[0]
        given = [word] if getattr(option, "is_flag", False) else [word, "1"]
        ran = run(name, *given, *given)
        longest = max(option.opts, key=len)
        assert (ran.code, ran.err) == (2, f"bertie: {longest} is given 2 times but takes one value; give it once.\n")


def test_both_forms_of_a_switch_are_one_option(run: Callable[..., Any]) -> None:
    ran = run("classify", "-m", "nowhere", "--windows", "--no-windows", "a")
    assert (ran.code, "--windows is given 2 times" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("evaluate ner --input a.csv", "bertie evaluate has no option --input. Did you mean '--data'?"),
        ("finetune ner --data=a.csv", "bertie finetune has no option --data. Did you mean '--train'?"),
        ("classify --text-column b", "bertie classify has no option --text-column. Did you mean '--column'?"),
        ("finetune ner --max-steps 5", "bertie finetune has no option --max-steps. Did you mean '--epochs'?"),
        ("pretrain --max-steps 5", "bertie pretrain has no option --max-steps. Did you mean '--steps'?"),
        ("embed --out a.npy", "bertie embed has no option --out. Did you mean '--output'?"),
        ("evaluate ner -o a.csv", "bertie evaluate has no option -o. Did you mean '--predictions'?"),
        (
            "rerank --input a.csv",
            "bertie rerank has no option --input. Give FILE without an option: bertie rerank FILE QUERIES.",
        ),
        (
            "quantize --model a b",
            "bertie quantize has no option --model. Give MODEL without an option: bertie quantize MODEL OUT.",
        ),
        ("serve --model a", "bertie serve has no option --model. Give MODELS without an option: bertie serve MODELS."),
        (
            "distil --model a",
            "bertie distil has no option --model. Give TEACHER without an option: bertie distil TEACHER.",
        ),
        (
            "export --to onnx a b",
            "bertie export has no option --to. Give ONNX without an option: bertie export ONNX MODEL OUT.",
        ),
        (
            "generate --prompt a",
            "bertie generate has no option --prompt. Give TEXTS without an option: bertie generate TEXTS.",
        ),
        ("tag --agregation max", "bertie tag has no option --agregation. Did you mean '--aggregation'?"),
        ("finetune ner a.csv", "bertie finetune has no place for 'a.csv'; did you mean --train a.csv?"),
        ("distil a b --texts c", "bertie distil has no place for 'b'; did you mean --out b?"),
        (
            "finetune ner --train a.csv b.csv",
            "bertie finetune has no place for 'b.csv'; bertie finetune -h lists what it takes.",
        ),
        ("convert a b c", "bertie convert has no place for 'c'; bertie convert -h lists what it takes."),
        ("finetune --train a.csv", "The task is missing: bertie finetune TASK --train FILE; -h lists the tasks."),
        ("tag --zzz", "bertie tag has no option --zzz. bertie tag -h lists all."),
    ],
)
def test_unknown_options_get_a_hint(run: Callable[..., Any], given: str, sentence: str) -> None:
    ran = run(*given.split())
    assert (ran.code, ran.err) == (2, f"bertie: {sentence}\n")


def test_a_model_folder_is_not_a_text(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    for command, hint in (
        ("bench", f"did you mean --model {tmp_path}?"),
        ("finetune ner", f"did you mean --model {tmp_path}?"),
        ("distil teacher", "bertie distil -h lists what it takes."),
    ):
        assert run(*command.split(), str(tmp_path)).err.endswith(f" has no place for '{tmp_path}'; {hint}\n")


def test_option_groups_are_expanded_in_place() -> None:
    made: list[Any] = []

    def tell(first: int = 0, *, form: FormatOptions, last: int = 1) -> None:
        made.append((first, form.as_format(), last))

    command = expand_groups(tell)
    form = ("format", "delimiter", "encoding", "quoting")
    assert list(signature(command).parameters) == ["first", *form, "last", "quiet", "verbose"]
    command(first=2, format="csv", delimiter="tab", encoding=None, quoting=None, last=3)
    assert made == [(2, Format("csv", "\t"), 3)]
