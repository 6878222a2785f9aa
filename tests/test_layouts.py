"""Folders without a model that bertie can read are recognised, with the same message from every entry point."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import bertie
from bertie.cli.app import app
from bertie.errors import CheckpointError
from bertie.layouts import LAYOUTS, describe_files

TINY = {"vocab_size": 9, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 437955512\n"


def config(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bertie.BertConfig(**TINY).save_pretrained(folder)


def with_config(name: str, content: str = "") -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        config(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)

    return build


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "bert-base-uncased"}))
    (folder / "adapter_model.safetensors").touch()


def tensorflow_1(folder: Path) -> None:
    for name in ("bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"):
        (folder / name).touch()
    (folder / "bert_config.json").write_text(json.dumps(TINY))
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]))


def checkpoints(folder: Path) -> None:
    for step in (500, 1000, 1500):
        config(folder / f"checkpoint-{step}")
    (folder / "runs").mkdir()


FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (lambda folder: None, "it is empty"),
    "adapter": (adapter, r"a peft adapter, whose base model can't be read: .*'bert-base-uncased'"),
    "tensorflow 1": (tensorflow_1, "TensorFlow 1 code: convert it once, bertie convert FOLDER OUT.*from_tf=True"),
    "keras": (with_config("tf_model.h5"), "'tf_model.h5' is weights of Keras: .*bertie convert.*from_tf=True"),
    "flax": (with_config("flax_model.msgpack"), "weights of Flax: convert it once, bertie convert.*from_flax=True"),
    "rust": (with_config("rust_model.ot"), "weights for rust-bert: fetch model.safetensors"),
    "served": (with_config("saved_model.pb"), "a TensorFlow SavedModel"),
    "onnx": (with_config("onnx/model.onnx"), "a model for ONNX Runtime: fetch model.safetensors"),
    "openvino": (with_config("openvino_model.bin"), "a model for OpenVINO"),
    "llama.cpp": (with_config("model.gguf"), "weights for llama.cpp"),
    "pointer": (with_config("model.safetensors", POINTER), "is a git-lfs pointer.*git lfs pull"),
    "pointer to a pickle": (with_config("pytorch_model.bin", POINTER), "is a git-lfs pointer"),
    "pointer to a config": (lambda folder: with_config("config.json", POINTER)(folder), "is a git-lfs pointer"),
    "checkpoints": (checkpoints, "give one of them: checkpoint-500, checkpoint-1000, checkpoint-1500"),
    "models": (lambda folder: config(folder / "english"), "part of a model in a subfolder: give one of them: english"),
}


def entry_points(folder: Path) -> dict[str, Callable[[], Any]]:
    """The ways to open a model, by name."""
    return {
        "model": lambda: bertie.BertModel.from_pretrained(folder),
        "auto": lambda: bertie.AutoModelForMaskedLM.from_pretrained(str(folder)),
        "embed": lambda: bertie.pipeline("embed", folder),
        "classify": lambda: bertie.pipeline("text-classification", folder),
    }


@pytest.mark.parametrize("name", FOLDERS)
def test_every_way_to_open_reports_the_same(name: str, tmp_path: Path) -> None:
    build, says = FOLDERS[name]
    build(tmp_path)
    for open_it in entry_points(tmp_path).values():
        with pytest.raises(CheckpointError, match=says):
            open_it()
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path)])
    assert shown.exit_code != 0
    text = shown.output if isinstance(shown.exception, SystemExit) else str(shown.exception)
    assert says.split(".*")[0].replace("\\", "") in text.replace("\n", " ")


@pytest.mark.parametrize(
    ("kind", "says"),
    [("tf1", "Google's TensorFlow 1 code"), ("tf", "weights of Keras"), ("flax", "weights of Flax")],
)
def test_real_old_files(kind: str, says: str, shared: Path) -> None:
    folder = shared / "oldfiles" / kind / "pretraining"
    if not folder.is_dir():
        pytest.skip("the old files are not there")
    with pytest.raises(CheckpointError, match=says):
        bertie.BertForPreTraining.from_pretrained(folder)


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    adapter(tmp_path)
    with pytest.raises(CheckpointError, match="a peft adapter, whose base model can't be read"):
        bertie.BertTokenizer.from_pretrained(tmp_path)


def test_the_whole_hub_repository_is_considered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "snapshot"
    config(snapshot)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: ["config.json", "tf_model.h5"])
    with pytest.raises(CheckpointError, match="'tf_model.h5' is weights of Keras"):
        bertie.BertModel.from_pretrained("someone/keras")


def test_an_adapter_in_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / "nothing"))
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: names)
    for open_it in (bertie.BertModel.from_pretrained, bertie.AutoTokenizer.from_pretrained):
        with pytest.raises(CheckpointError, match="'adapter_config.json' is part of a peft adapter"):
            open_it("someone/adapter")


def test_a_pickled_model_on_the_hub_is_inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini: Path) -> None:
    import torch

    snapshot, model = tmp_path / "snapshot", bertie.BertForMaskedLM(bertie.BertConfig(**TINY))
    config(snapshot)

    def download(*_: Any, allow_patterns: list[str], **__: Any) -> str:
        if "pytorch_model.bin" in allow_patterns:
            torch.save(model.state_dict(), snapshot / "pytorch_model.bin")
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    (shown,) = CliRunner().invoke(app, ["inspect", "someone/pickled", "--json"]).output.splitlines()
    found = json.loads(shown)
    assert found["parameters"] == model.num_parameters()
    assert found["classes"]["BertForMaskedLM"]["missing"] == []


def test_old_sentence_transformers_folders_open_everywhere(tmp_path: Path, mini: Path) -> None:
    own = tmp_path / "0_Transformer"
    bertie.BertForSequenceClassification(bertie.BertConfig(**TINY | {"vocab_size": 30522})).save_pretrained(own)
    shutil.copyfile(mini / "vocab.txt", own / "vocab.txt")
    steps = [("Transformer", "0_Transformer"), ("Pooling", "1_Pooling")]
    named = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in steps]
    (tmp_path / "modules.json").write_text(json.dumps(named))
    assert bertie.BertModel.from_pretrained(tmp_path).config.hidden_size == 16
    assert len(bertie.AutoTokenizer.from_pretrained(tmp_path)) == 30522
    assert bertie.pipeline("embed", tmp_path)("a").shape == (16,)
    assert "label" in bertie.pipeline("text-classification", tmp_path)(["a"])[0]
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert "BertForSequenceClassification  complete" in shown.output
    assert "mean, reads 512 tokens" in shown.output


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.patterns[0])
def test_each_layout_has_its_own_message(layout: Any) -> None:
    pattern = layout.patterns[0].replace("[!0-9]", "a").replace("*", "7")
    sentence = describe_files(["README.md", pattern])
    assert layout.description in sentence
    assert "{" not in sentence


def test_a_table_of_vectors_is_no_damaged_model(tmp_path: Path) -> None:
    for name in ("modules.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"table of vectors \(StaticEmbedding\): embed and search with it"):
        bertie.BertConfig.from_pretrained(tmp_path)


def test_unknown_files_are_not_described() -> None:
    assert describe_files(["README.md", "notes.txt"]) == ""
    assert describe_files(["modules.json", "1_Pooling/config.json"]) == ""
