"""The mean of several models: exactly that, with the first one's files; what cannot be averaged is refused by name."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from films import write_start
from safetensors.torch import load_file

import bertie
from bertie.errors import CheckpointError, InputError

ROWS = [
    {"text": f"a {'good' if number % 2 else 'bad'} film {number % 10}", "label": str(number % 2)}
    for number in range(40)
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that started from the same weights, head included, and differ in their seed."""
    folder = tmp_path_factory.mktemp("runs")
    start = write_start(folder / "start", num_hidden_layers=1)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "show_progress": False}
    bertie.finetune("classification", ROWS, model=start, out=folder / "head", **options)
    for seed in (1, 2):
        bertie.finetune(
            "classification", ROWS, model=folder / "head", out=folder / str(seed), seed=seed, keep=1, **options
        )
    return [folder / "1", folder / "2"]


def changed(folder: Path, to: Path, **fields: Any) -> Path:
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | fields))
    return to


def test_the_mean_of_two_models(runs: list[Path], tmp_path: Path) -> None:
    notes = bertie.average(runs, tmp_path / "mean")
    weights = [load_file(each / "model.safetensors") for each in (*runs, tmp_path / "mean")]
    for name, found in weights[2].items():
        expected = torch.stack([weights[at][name].double() for at in (0, 1)]).mean(0).float()
        assert torch.equal(found, expected), name
    names = {path.name for path in (tmp_path / "mean").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}
    configs = [json.loads((each / "config.json").read_text()) for each in (*runs, tmp_path / "mean")]
    assert ["temperature" in str(config.get("task_specific_params")) for config in configs] == [True, True, False]
    assert notes == ["The models differ in temperature, which were tuned for each; the mean has none."]
    pipe = bertie.pipeline("classification", tmp_path / "mean")
    assert pipe("a good film 3")[0]["label"] in ("0", "1")
    with pytest.raises(CheckpointError, match="is not empty; name a new one"):
        bertie.average(runs, tmp_path / "mean")


def test_models_without_task_options(tmp_path: Path) -> None:
    starts = [write_start(tmp_path / name, num_hidden_layers=1) for name in "ab"]
    assert not bertie.average(starts, tmp_path / "mean")
    assert "task_specific_params" not in json.loads((tmp_path / "mean" / "config.json").read_text())


def test_models_of_different_origin_are_reported(runs: list[Path], tmp_path: Path) -> None:
    start = write_start(tmp_path / "start", num_hidden_layers=1)
    model = bertie.BertModel.from_pretrained(start)
    torch.manual_seed(5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(start)
    bertie.finetune("classification", ROWS, model=start, out=tmp_path / "other", epochs=1, show_progress=False)
    notes = bertie.average([runs[0], tmp_path / "other"], tmp_path / "mean")
    assert any(re.match(r"Tensors such as 'bert\..* differ by more than half their norm: ", note) for note in notes)
    assert any(note.startswith("They were fine-tuned from different models: ") for note in notes)


def test_what_cannot_be_averaged(runs: list[Path], tmp_path: Path) -> None:
    one, other = runs
    twisted = changed(other, tmp_path / "twisted", id2label={"0": "1", "1": "0"}, label2id={"1": 0, "0": 1})
    windows = changed(other, tmp_path / "windows", task_specific_params={"text-classification": {"windows": True}})
    config = bertie.BertConfig.from_pretrained(one)
    config.intermediate_size = 8
    wider = bertie.BertForSequenceClassification(config)
    shutil.copytree(other, tmp_path / "wider")
    wider.save_pretrained(tmp_path / "wider")
    words = shutil.copytree(other, tmp_path / "words")
    (words / "tokenizer.json").unlink()
    (words / "vocab.txt").write_text((one / "vocab.txt").read_text().replace("\nfilm\n", "\nmovie\n"))
    bare = tmp_path / "bare"
    bertie.BertModel.from_pretrained(one).save_pretrained(bare)
    bertie.BertTokenizer.from_pretrained(one).save_pretrained(bare)
    for second, message in (
        (twisted, "has the id2label .*'1', .* and .* a mean needs the same"),
        (windows, "The models have different windows: "),
        (tmp_path / "wider", "has the intermediate_size 8, and .* a mean needs the same"),
        (words, "has the token '(film|movie)' at id"),
        (bare, "has the class 'BertModel', and .* 'BertForSequenceClassification'; a mean needs the same"),
        (one, "a mean needs at least two different models"),
    ):
        with pytest.raises(InputError, match=message):
            bertie.average([one, second], tmp_path / "mean")
        assert not (tmp_path / "mean").exists()
