"""A model's card is read by the hub, says nothing private, and its code runs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from films import write_start
from huggingface_hub import ModelCard

import bertie
from bertie.finetuning.model_card import in_hub, upload_command
from bertie.hub import DEFAULT_EMBEDDING_MODEL

CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROWS = [
    {"text": f"a {'good' if number % 2 else 'bad'} film {number}", "label": str(number % 2)} for number in range(60)
]
PAIRS = [{"text1": f"a film {number}", "text2": f"a bad film {number}", "score": number / 60} for number in range(60)]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("secret"), num_hidden_layers=1)


@pytest.mark.parametrize(
    ("task", "rows", "tag", "library"),
    [
        ("classification", ROWS, "text-classification", "transformers"),
        ("embed", PAIRS, "sentence-similarity", "sentence-transformers"),
    ],
)
def test_the_hub_reads_it_and_its_code_runs(
    task: str, rows: Any, tag: str, library: str, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bertie.finetune(task, rows, model=start, out="my model", epochs=1, batch_size=8, show_progress=False)
    card = ModelCard.load(tmp_path / "my model" / "README.md")
    assert (card.data.pipeline_tag, card.data.library_name) == (tag, library)
    assert "bertie" in card.data.tags
    assert card.data.metrics
    assert card.data.license is None
    assert card.data.base_model is None  # a folder here is none in the hub
    assert "secret" in card.text  # the folder's name, and not where it lies
    assert str(start.parent) not in card.text
    assert "95% interval" in card.text
    for code in CODE.findall(card.text):
        exec(code, {})
    command = re.findall(r"^\$ (.*)$", card.text, re.MULTILINE)[0]
    subprocess.run([sys.executable, "-m", *shlex.split(command)], check=True, cwd=tmp_path, env=dict(os.environ))


@pytest.mark.parametrize(
    ("model", "named"),
    [("all-MiniLM-L6-v2", DEFAULT_EMBEDDING_MODEL), ("bert-base-uncased", "bert-base-uncased"), ("a/b/c", None)],
)
def test_what_the_hub_calls_the_model_to_start_from(model: str, named: str | None) -> None:
    assert in_hub(model) == named


def test_what_is_not_shared(tmp_path: Path) -> None:
    for name in ("report.md", "state/1", "seed-1/model.safetensors", "model.safetensors"):
        (tmp_path / "a run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a run" / name).touch()
    words = shlex.split(upload_command(tmp_path / "a run"))
    assert words[:4] == ["hf", "upload", "YOUR-NAME/a-run", str(tmp_path / "a run")]
    assert words[4:] == ["--exclude", "report.*", "--exclude", "state/*", "--exclude", "seed-*"]


def test_a_notebook_shows_small_tables(start: Path) -> None:
    result = bertie.finetune("classification", ROWS, model=start, epochs=1, batch_size=8, show_progress=False)
    found = bertie.evaluate("classification", ROWS, model=result.model, tokenizer=result.tokenizer)
    assert "<td>accuracy</td>" in result._repr_html_()
    assert repr(result).startswith("<Finetuned text-classification: accuracy ")
    assert "<p>60 rows</p>" in found._repr_html_()
    assert "<td>accuracy</td>" in found._repr_html_()
    assert "<td>text-classification</td>" in result.pipeline._repr_html_()
    assert "<td>computed by</td>" in bertie.pipeline("embed", start)._repr_html_()
