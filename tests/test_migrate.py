"""The tables of docs/migrate: each call of before and the one of now give the same, where the former is installed."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

PAGES = sorted((Path(__file__).resolve().parents[1] / "docs" / "migrate").glob("*.md"))
SETUP = re.compile(r"^```(?:python|py)\n(.*?)^```", re.MULTILINE | re.DOTALL)  # py: needs what may be missing
ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \|$", re.MULTILINE)


def rows(page: Path) -> list[tuple[str, str]]:
    """Return the first table's calls; those of the second are done otherwise."""
    first, second = page.read_text(encoding="utf-8").split("| before | now |")[1:]
    del second
    return ROW.findall(first)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_both_give_the_same(page: Path, minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"np": np, "torch": torch}
    is_installed = True
    for block in SETUP.findall(page.read_text(encoding="utf-8")):
        try:
            exec(block, names)
        except ModuleNotFoundError:
            is_installed = False
    assert len(rows(page)) >= 5
    for before, now in rows(page):
        with torch.no_grad():
            new = eval(now, names)  # noqa: S307
            if not is_installed:
                continue
            old = eval(before, names)  # noqa: S307
        if isinstance(old, str | int | list):
            assert new == old, now
        else:
            np.testing.assert_allclose(np.asarray(new), np.asarray(old), atol=2e-5, err_msg=now)
