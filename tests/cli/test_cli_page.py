"""The generated page on the command line has all commands with all options."""

import runpy
from pathlib import Path

from bertie.cli.app import PLACES, load_command

HOOK = Path(__file__).resolve().parents[2] / "docs" / "cli_page.py"


def test_every_command_and_option_is_listed() -> None:
    page = runpy.run_path(str(HOOK))["render"]()
    parts = dict(zip(PLACES, page.split("\n## ")[1:], strict=True))
    for name, part in parts.items():
        assert part.startswith(f"{name}\n\n```text\nUsage: bertie {name} ")
        for option in (each for each in load_command(name).params if not getattr(each, "hidden", False)):
            assert all(each in part for each in option.opts if each.startswith("--")), (name, option.opts)
    assert "/root" not in page
