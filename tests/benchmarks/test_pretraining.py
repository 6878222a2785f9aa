"""benchmarks/pretraining: what the default model is trained on, and what it never sees."""

import lzma
import re
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.data import records

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "pretraining"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return __import__("default_model")


def test_the_novels_that_score_the_model_are_not_among_its_texts(script: Any, shared: Path) -> None:
    held_out = (shared / "data" / "heldout.txt").read_text(encoding="utf-8").split()
    texts = {str(row.fields["source"]): row.fields["text"] for row in records(shared / "data" / "corpus.jsonl.xz")}
    kept = list(script.corpus(shared / "data"))
    assert len(held_out) == 10
    assert not {texts[source] for source in held_out} & set(kept)
    assert len(kept) == 1_211 - 10


def test_a_novel_to_hold_out_that_there_is_not(script: Any, tmp_path: Path) -> None:
    with lzma.open(tmp_path / "corpus.jsonl.xz", "wt", encoding="utf-8") as file:
        file.write('{"source": "novel/A", "text": "It rained."}\n')
    (tmp_path / "heldout.txt").write_text("novel/A\nnovel/B\n")
    with pytest.raises(SystemExit, match=r"corpus\.jsonl\.xz has no novel/B"):
        list(script.corpus(tmp_path))


def test_rows_make_documents_of_several_sentences(script: Any, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('text,label\n"it rained . who cares ?",1\nA short one.,0\nAnother,1\n')
    expected = ["it rained .\n\n who cares ?\n\nA short one.", "Another"]
    assert list(script.joined(tmp_path / "train.csv", 2)) == expected


def test_commands_need_no_activated_environment(
    script: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    script.run("bertie --version")
    assert capfd.readouterr().out.startswith("$ bertie --version\nbertie ")
    shown = "$ echo x | bertie --version\n"
    assert script.printed(re.fullmatch(r"(\$ (.*)\n)", shown)) == f"{shown}bertie {bertie.__version__}"
