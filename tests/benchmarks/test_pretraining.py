"""benchmarks/pretraining: what the default model is trained on, and what it never sees."""

import json
import runpy
from pathlib import Path

import pytest

from bertie.data import records

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "pretraining"


def test_the_novels_that_score_the_model_are_not_among_its_texts(shared: Path, tmp_path: Path) -> None:
    script = runpy.run_path(str(FOLDER / "default_model.py"))
    script["write_documents"](tmp_path / "corpus.jsonl")
    held_out = (shared / "data" / "heldout.txt").read_text(encoding="utf-8").split()
    corpus = {str(row.fields["source"]): row.fields["text"] for row in records(shared / "data" / "corpus.jsonl.xz")}
    kept = [row.fields["text"] for row in records(tmp_path / "corpus.jsonl")]
    assert len(held_out) == 10
    assert not {corpus[source] for source in held_out} & set(kept)
    assert set(kept) >= {text for source, text in corpus.items() if source not in held_out}
    assert len(kept) == 1_211 - len(held_out)


def test_a_novel_to_hold_out_that_there_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = runpy.run_path(str(FOLDER / "default_model.py"))
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"source": "novel/A", "text": "It rained."}) + "\n")
    (tmp_path / "heldout.txt").write_text("novel/A\nnovel/B\n")
    function = script["write_documents"]
    monkeypatch.setitem(function.__globals__, "CORPUS", tmp_path / "corpus.jsonl")
    monkeypatch.setitem(function.__globals__, "HELD_OUT", tmp_path / "heldout.txt")
    with pytest.raises(SystemExit, match="has no novel/B"):
        function(tmp_path / "out.jsonl")
