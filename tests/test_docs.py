"""Every code block of the README, CONTRIBUTING and docs/ runs: Python as written, and each `$ bertie …` line."""

import json
import os
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from labelled import FILES

import bertie
from bertie.tasks.registry import Row

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LEFT_OUT = ("bertie demo",)  # the main job has a test of its own


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


# Pages on fine-tuning are about what happens, not how well: the model that they begin with is small and random here.
TRAINING = sorted(path for path in (ROOT / "docs" / "tasks").glob("*.md") if "finetune" in path.read_text("utf-8"))


@pytest.fixture(scope="session")
def small(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that learns in seconds, with a real vocabulary."""
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    bertie.BertForPreTraining(bertie.BertConfig(**shape)).save_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(mini).save_pretrained(folder)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm: Path) -> Path:
    """A folder with what the pages assume: a few lines of text, and labelled rows."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # for texts this short compiling takes far longer than computing
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def ready(page: Path, text: str, small: Path) -> str:
    """Return code or a command of a page with the small model in the place of the one that training begins with, and
    seconds in the place of the time that it has."""
    if "my-decoder" in page.read_text(encoding="utf-8"):
        bertie.BertLMHeadModel.from_pretrained(small, is_decoder=True).save_pretrained("my-decoder")
        bertie.BertTokenizer.from_pretrained(small).save_pretrained("my-decoder")
    text = re.sub(r"--budget \w+", "--budget 6s", text)
    if page not in TRAINING:
        return text
    if "--model" not in text and "--encoder" not in text:
        text = re.sub(r"^(bertie finetune)", rf"\1 --model {small}", text)
    return text.replace("all-MiniLM-L6-v2", str(small))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_python_blocks_run(page: Path, workplace: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page in TRAINING:
        monkeypatch.setattr(Row, "starting_model", lambda _: small)
    if page.stem == "explain":
        pytest.importorskip("shap", reason="shap is not installed")
    names: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(ready(page, block, small), f"{page.name}, Python block {number}", "exec"), names)


def commands(page: Path) -> list[tuple[str, str]]:
    """Return each `$ bertie …` line with the line of output the page shows below it, if any."""
    lines = [line for block in blocks(page, "console") for line in [*block.splitlines(), "$"]]
    return [
        (line[2:], "" if shown.startswith("$") else shown)
        for line, shown in pairwise(lines)
        if line.startswith("$ ") and "bertie " in line and not any(left in line for left in LEFT_OUT)
    ]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_commands_run(page: Path, workplace: Path, small: Path) -> None:
    for command, shown in commands(page):
        command = ready(page, command, small)
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout or done.stderr, command
        if shown:
            assert json.loads(done.stdout.splitlines()[0], parse_float=Score) == json.loads(shown), command


class Score(float):
    """A number that another chip, which rounds int8 otherwise, finds too."""

    __hash__ = float.__hash__

    def __eq__(self, other: object) -> bool:
        return other == pytest.approx(float(self), abs=0.02)


def test_make_targets_in_the_pages_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"^\$ make ([\w-]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert target in targets, f"{page.name} names make {target}"


def test_every_public_name_has_a_place_in_the_api_pages() -> None:
    pages = sorted((ROOT / "docs" / "api").glob("*.md"))
    named = [
        name for page in pages for name in re.findall(r"^::: bertie\.(\w+)$", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert sorted(named) == sorted(set(bertie.__all__) - {"__version__"})


def test_every_page_has_a_place_in_the_navigation() -> None:
    named = re.findall(r"[\w/-]+\.md$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    written = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(named) == sorted([*written, "cli.md"])  # docs/cli_page.py makes that one


def test_every_extra_for_users_stands_in_the_readme() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = re.findall(r"^\| `(\w+)` \| ", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(set(extras) - {"test", "dev", "docs"})


def test_pages_on_tasks_are_short() -> None:
    for page in (ROOT / "docs" / "tasks").glob("*.md"):
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 80, page.name


def test_decisions_that_the_code_cites_are_written_down() -> None:
    written = set(re.findall(r"^(\d+)\. ", (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8"), re.MULTILINE))
    for path in sorted(file for room in ("src", "tests") for file in (ROOT / room).rglob("*.py")):
        cited = re.findall(r"\(decisions? (\d+)(?:(?:, | to | and )(\d+))*\)", path.read_text(encoding="utf-8"))
        assert {number for pair in cited for number in pair if number} <= written, path
