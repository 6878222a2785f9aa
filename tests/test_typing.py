"""Type checkers take the Python that the README and the pages show, and editors know every public name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import bertie

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# a page's blocks follow each other, and name the same thing anew; other libraries need not be typed
OPTIONS = (
    "--strict",
    "--allow-redefinition",
    "--ignore-missing-imports",
    "--follow-imports=silent",
    "--no-incremental",
)


@pytest.mark.slow  # PyTorch alone takes half a minute to be read
def test_mypy_takes_what_pages_show(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for page in PAGES:
        if shown := BLOCK.findall(page.read_text(encoding="utf-8")):
            name = "_".join(page.relative_to(ROOT).with_suffix("").parts).replace("-", "_")
            (tmp_path / f"{name}.py").write_text("\n".join(shown), encoding="utf-8")
    files = sorted(map(str, tmp_path.glob("*.py")))
    assert len(files) > 20
    command = [sys.executable, "-m", "mypy", "--config-file=", "--cache-dir", str(tmp_path / "cache"), *OPTIONS, *files]
    done = subprocess.run(command, capture_output=True, text=True, env={"MYPYPATH": str(ROOT / "src")})
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_what_loading_returns_has_its_type(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    shown = """import bertie
model, info = bertie.BertModel.from_pretrained("a", output_loading_info=True, dtype="auto")
reveal_type(model)
reveal_type(info["missing_keys"])
reveal_type(bertie.BertModel.from_pretrained("a", output_loading_info=False))
reveal_type(bertie.BertForMaskedLM.from_pretrained("a", dtype="auto"))
"""
    (tmp_path / "loaded.py").write_text(shown, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file=", "--cache-dir", str(tmp_path / "cache"), *OPTIONS]
    command.append(str(tmp_path / "loaded.py"))
    done = subprocess.run(command, capture_output=True, text=True, env={"MYPYPATH": str(ROOT / "src")})
    assert re.findall(r'type is "([^"]+)"', done.stdout) == [
        "bertie.models.bert.BertModel",
        "Any",
        "bertie.models.bert.BertModel",
        "bertie.models.masked_lm.BertForMaskedLM",
    ], done.stdout


def test_editors_complete_all_public_names() -> None:
    assert set(bertie.__all__) - {"__version__"} <= set(dir(bertie))
