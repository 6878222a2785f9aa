"""A model card can be read by the hub, contains nothing private, and its code runs."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from films import write_start
from huggingface_hub import ModelCard

import bertie
from bertie.finetuning.model_card import call_of, command_of, in_hub, upload_command
from bertie.hub import DEFAULT_EMBEDDING_MODEL
from bertie.tasks.registry import ROWS as ROWS_OF_TASKS
from bertie.tasks.registry import find

CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROWS = [
    {"text": f"a {'good' if number % 2 else 'bad'} film {number}", "label": str(number % 2)} for number in range(60)
]
PAIRS = [{"text1": f"a film {number}", "text2": f"a bad film {number}", "score": number / 60} for number in range(60)]
ASKED = [
    {"sentence1": f"a film {number}", "sentence2": "a good film?", "label": str(number % 2)} for number in range(60)
]
BESIDE = "The text beside it."


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("secret"), num_hidden_layers=1)


@pytest.mark.parametrize(
    ("task", "rows", "tag", "library", "answered"),
    [
        ("classification", ROWS, "text-classification", "transformers", {"text": "A text."}),
        ("classification", ASKED, "text-classification", "transformers", {"text": "A text.", "text_pair": BESIDE}),
        ("embed", PAIRS, "sentence-similarity", "sentence-transformers", {"text": "A text."}),
    ],
)
def test_the_hub_reads_it_and_its_code_runs(
    task: str,
    rows: Any,
    tag: str,
    library: str,
    answered: dict[str, str],
    start: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    bertie.finetune(task, rows, model=start, out="my model", epochs=1, batch_size=8, show_progress=False)
    card = ModelCard.load(tmp_path / "my model" / "README.md")
    assert (card.data.pipeline_tag, card.data.library_name) == (tag, library)
    assert "bertie" in card.data.tags
    assert card.data.metrics
    assert card.data.license is None
    assert card.data.base_model is None  # a local folder is not in the hub
    assert "secret" in card.text  # the folder's name, but not its path
    assert str(start.parent) not in card.text
    assert "95% interval" in card.text
    for code in CODE.findall(card.text):
        exec(code, {})
    command = re.findall(r"^\$ (.*)$", card.text, re.MULTILINE)[0]
    words = [sys.executable, "-m", *shlex.split(command)]
    ran = subprocess.run(words, check=True, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True)
    (answer,) = map(json.loads, ran.stdout.splitlines())
    assert answered.items() <= answer.items()


def test_the_example_command_of_each_task() -> None:
    tokenizer = SimpleNamespace(mask_token="<mask>")
    pair = {"text-classification": {"columns": {"text": "a", "text_pair": "b"}}}
    task: Any = SimpleNamespace(tokenizer=tokenizer, config=SimpleNamespace(task_specific_params=pair))
    assert {row.name: command_of(row, task, "a run") for row in ROWS_OF_TASKS if row.learns} == {
        "embed": """bertie embed "A text." --model 'a run'""",
        "fill-mask": """bertie fill-mask "A <mask> text." --model 'a run'""",
        "multiple-choice": """bertie choose "A prompt." "One choice." "Another." --model 'a run'""",
        "reranking": """bertie rerank YOUR-PASSAGES.txt "A question?" --model 'a run'""",
        "question-answering": """bertie answer "A question?" "A text that answers it." --model 'a run'""",
        "token-classification": """bertie tag "A text." --model 'a run'""",
        "next-sentence": """bertie next-sentence "A text." "What follows." --model 'a run'""",
        "text-classification": """bertie classify "A text." "The text beside it." --model 'a run'""",
        "text2text-generation": """bertie generate "A text." --model 'a run'""",
    }
    tokenizer.mask_token = None
    assert command_of(find("fill-mask"), task, "run") == 'bertie fill-mask "A [MASK] text." --model run'


@pytest.mark.parametrize("is_pair", [False, True])
def test_the_example_call_of_each_task(is_pair: bool, tmp_path: Path) -> None:
    start = write_start(tmp_path / "start", num_hidden_layers=1)
    columns = {"text": "a", "text_pair": "b"} if is_pair else {"text": "a"}
    for row in ROWS_OF_TASKS:
        if not row.learns or row.name == "text2text-generation":
            continue
        config = bertie.BertConfig.from_pretrained(start, num_labels=1 if row.name == "reranking" else 2)
        row.save_columns(config, columns)
        folder = tmp_path / row.name
        getattr(bertie, row.architecture)(config).save_pretrained(folder)
        bertie.BertTokenizer.from_pretrained(start).save_pretrained(folder)
        names: dict[str, Any] = {"pipe": bertie.pipeline(row.name, folder, show_progress=False)}
        exec(f"answer = pipe({call_of(row, names['pipe'].codec)})", names)
        answer = names["answer"]
        assert len(answer) > 0, row.name
        if row.name in ("next-sentence", "text-classification"):
            assert len(answer) == 1, "a pair is one input"


@pytest.mark.parametrize(
    ("model", "named"),
    [("all-MiniLM-L6-v2", DEFAULT_EMBEDDING_MODEL), ("bert-base-uncased", "bert-base-uncased"), ("a/b/c", None)],
)
def test_the_hub_name_of_the_starting_model(model: str, named: str | None) -> None:
    assert in_hub(model) == named


def test_private_files_are_not_uploaded(tmp_path: Path) -> None:
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
