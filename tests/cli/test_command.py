"""Options given twice: an error of every command, unless they may be repeated."""

from collections.abc import Callable
from typing import Any

import pytest
import typer

from bertie.cli import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_option_that_takes_one_value_is_given_once(run: Callable[..., Any], name: str) -> None:
    options = [one for one in COMMANDS[name].params if one.param_type_name == "option" and one.name != "help"]
    assert options
    for option in options:
        if option.multiple:
            continue
        word = option.opts[0]
        given = [word] if getattr(option, "is_flag", False) else [word, "1"]
        ran = run(name, *given, *given)
        longest = max(option.opts, key=len)
        assert (ran.code, ran.err) == (2, f"bertie: {longest} is given 2 times, and takes one value; give it once.\n")


def test_both_words_of_a_switch_are_one_option(run: Callable[..., Any]) -> None:
    ran = run("classify", "-m", "nowhere", "--windows", "--no-windows", "a")
    assert (ran.code, "--windows is given 2 times" in ran.err) == (2, True)
