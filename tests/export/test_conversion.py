"""bertie.convert: every class round-trips through each format; unsupported models are refused, nothing written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from old_files import write_bundle
from typer.testing import CliRunner

import bertie
from bertie.checkpoints import open_checkpoint
from bertie.checkpoints.parameters import CLASSES
from bertie.cli.app import app
from bertie.errors import BertieError, CheckpointError, InputError
from bertie.export.conversion import FORMATS
from bertie.families import FAMILIES

TINY = {"vocab_size": 12, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
FLAGS = {"safetensors": {}, "h5": {"from_tf": True}, "msgpack": {"from_flax": True}}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]


def drawn(name: str = "BertForPreTraining", **fields: Any) -> Any:
    """A model whose weights have no default values of 0 or 1."""
    model = getattr(bertie, name)(bertie.BertConfig(**{**TINY, **fields})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def saved(folder: Path, name: str = "BertForPreTraining", **fields: Any) -> Any:
    model = drawn(name, **fields)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return model


def assert_same(one: Any, two: Any) -> None:
    wanted, found = one.state_dict(), two.state_dict()
    assert wanted.keys() == found.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("to", FLAGS)
def test_every_class_round_trips(name: str, to: str, tmp_path: Path) -> None:
    labels = {} if name == "BertForQuestionAnswering" else {"num_labels": 3}
    if to == "safetensors":
        model = drawn(name, **labels)
        tensors = {each: tensor.numpy() for each, tensor in model.state_dict().items()}
        if name == "BertModel":
            tensors = {f"bert.{each}": tensor for each, tensor in tensors.items()}
        write_bundle(tensors, tmp_path / "old" / "bert_model.ckpt")
        model.config.save_pretrained(tmp_path / "old")
        settings = json.loads((tmp_path / "old" / "config.json").read_text()) | {"architectures": [name]}
        (tmp_path / "old" / "config.json").write_text(json.dumps(settings))
    else:
        model = saved(tmp_path / "old", name, **labels)
    bertie.convert(tmp_path / "old", tmp_path / "new", to)
    kind = getattr(bertie, name)
    again, info = kind.from_pretrained(tmp_path / "new", output_loading_info=True, **FLAGS[to])
    assert not info["missing_keys"] | info["unexpected_keys"]
    assert_same(model, again)
    assert again.config.architectures == [name]
    if to != "safetensors":
        assert_same(model, kind.from_pretrained(bertie.convert(tmp_path / "new", tmp_path / "back")))


@pytest.mark.parametrize("kind", sorted(FAMILIES.keys() - {"bert", "mpnet"}))
def test_siblings_are_converted_from_flax(kind: str, tmp_path: Path) -> None:
    from bertie.checkpoints.flax_file import write_flax

    model = drawn("BertForSequenceClassification", model_type=kind, **FAMILIES[kind].fixed, pad_token_id=1)
    model.save_pretrained(tmp_path / "ours")
    stored = open_checkpoint(tmp_path / "ours")
    (tmp_path / "flax").mkdir()
    write_flax({name: stored.array(name) for name in stored.infos}, tmp_path / "flax" / "flax_model.msgpack")
    (tmp_path / "flax" / "config.json").write_bytes((tmp_path / "ours" / "config.json").read_bytes())
    again = bertie.BertForSequenceClassification.from_pretrained(tmp_path / "flax", from_flax=True)
    assert_same(model, again)
    bertie.convert(tmp_path / "flax", tmp_path / "new")
    assert open_checkpoint(tmp_path / "new").infos.keys() == stored.infos.keys()
    with pytest.raises(InputError, match=f"model_type is '{kind}': h5 can hold only a BERT"):
        bertie.convert(tmp_path / "ours", tmp_path / "h5", "h5")
    assert not (tmp_path / "h5").exists()


@pytest.mark.parametrize("kind", ["tf1", "tf", "flax"])
def test_real_files_give_the_same_outputs(kind: str, shared: Path, tmp_path: Path) -> None:
    files = shared / "oldfiles"
    expected = json.loads((files / "expected.json").read_text())
    ids, mask = torch.tensor(expected["ids"]), torch.tensor(expected["mask"])
    words, follows = map(torch.tensor, expected["outputs"]["pretraining"])
    flag = {"from_flax" if kind == "flax" else "from_tf": True}
    folder = files / kind / "pretraining"
    for model in (
        bertie.BertForPreTraining.from_pretrained(folder, **flag),
        bertie.AutoModelForPreTraining.from_pretrained(str(folder), **flag),
        bertie.BertForPreTraining.from_pretrained(bertie.convert(folder, tmp_path / "new")),
    ):
        found = model(ids, attention_mask=mask)
        torch.testing.assert_close(found.prediction_logits[mask.bool()], words[mask.bool()], rtol=0, atol=6e-5)
        torch.testing.assert_close(found.seq_relationship_logits, follows, rtol=0, atol=1e-5)
    given = bertie.BertForMaskedLM.from_pretrained(folder, **flag)
    assert_same(given.bert, bertie.BertModel.from_pretrained(folder, add_pooling_layer=False, **flag))


def test_the_class_is_found_by_the_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification"):
        model = drawn(name, num_labels=5 if "Sequence" in name else 2)
        tensors = {each: tensor.numpy() for each, tensor in model.state_dict().items()}
        if name == "BertModel":
            tensors = {f"bert.{each}": tensor for each, tensor in tensors.items()}
        old = tmp_path / name / "model.ckpt-7"
        write_bundle(tensors, old)
        (old.parent / "bert_config.json").write_text(json.dumps(TINY))
        bertie.convert(old, tmp_path / f"new {name}")
        config = bertie.BertConfig.from_pretrained(tmp_path / f"new {name}")
        assert config.architectures == [name]
        assert config.num_labels == (5 if "Sequence" in name else 2)
        assert f"judging by its weights, it is a {name}" in caplog.text
        assert_same(model, getattr(bertie, name).from_pretrained(tmp_path / f"new {name}"))


@pytest.mark.parametrize("capital", [False, True])
def test_casing_of_a_vocabulary_is_recorded(capital: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = drawn()
    write_bundle(
        {name: each.numpy() for name, each in model.state_dict().items()}, tmp_path / "old" / "bert_model.ckpt"
    )
    (tmp_path / "old" / "bert_config.json").write_text(json.dumps(TINY))
    (tmp_path / "old" / "vocab.txt").write_text("\n".join([*WORDS, "Paris" if capital else "paris"]))
    bertie.convert(tmp_path / "old", tmp_path / "new")
    assert bertie.AutoTokenizer.from_pretrained(tmp_path / "new").do_lower_case is not capital
    assert f"has {'capitals' if capital else 'no capitals'} in its vocabulary: do_lower_case is set to" in caplog.text
    assert not (tmp_path / "new" / "bert_config.json").exists()


def test_halves_and_bfloat16(tmp_path: Path) -> None:
    for dtype, stored in ((torch.float16, "float16"), (torch.bfloat16, "float32")):
        drawn("BertForMaskedLM").to(dtype).save_pretrained(tmp_path / stored)
        bertie.convert(tmp_path / stored, tmp_path / f"{stored} h5", "h5")
        kinds = {info.dtype for info in open_foreign_keras(tmp_path / f"{stored} h5").values()}
        assert kinds == {stored}


def open_foreign_keras(folder: Path) -> Any:
    from bertie.checkpoints.keras_file import KerasFile

    return KerasFile(folder / "tf_model.h5").infos


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    saved(tmp_path / "old")
    with pytest.raises(InputError, match=r"to is 'h55'; allowed: safetensors, h5, msgpack, gguf.*Did you mean 'h5'\?"):
        bertie.convert(tmp_path / "old", tmp_path / "new", "h55")
    saved(tmp_path / "untied", tie_word_embeddings=False)
    for to in ("h5", "msgpack"):
        with pytest.raises(InputError, match=f"{to} cannot hold a decoder that is not tied"):
            bertie.convert(tmp_path / "untied", tmp_path / "new", to)
    with pytest.raises(InputError, match="int8 weights; .*bertie dequantize"):
        bertie.convert("bertie-mini-uncased", tmp_path / "new", "h5")
    with pytest.raises(CheckpointError, match="not empty"):
        bertie.convert(tmp_path / "old", tmp_path / "old", "h5")
    with pytest.raises(CheckpointError, match="is empty|no folder"):
        bertie.convert(tmp_path / "nowhere", tmp_path / "new", "h5")
    broken = json.loads((tmp_path / "old" / "config.json").read_text()) | {"vocab_size": 13}
    (tmp_path / "old" / "config.json").write_text(json.dumps(broken))
    with pytest.raises(CheckpointError, match=r"word_embeddings.weight is \[12, 16\] in the file and \[13, 16\]"):
        bertie.convert(tmp_path / "old", tmp_path / "new", "h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "untied"]


def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "old")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(FORMATS, "h5", fail)
    with pytest.raises(CheckpointError, match="No space left on device; make room there"):
        bertie.convert(tmp_path / "old", tmp_path / "new", "h5")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_the_library_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "old")
    for to, module in (("h5", "h5py"), ("msgpack", "msgpack")):
        with monkeypatch.context() as without:
            without.setitem(__import__("sys").modules, module, None)
            with pytest.raises(BertieError, match=f"needs {module}"):
                bertie.convert(tmp_path / "old", tmp_path / "new", to)


def test_the_command(tmp_path: Path) -> None:
    saved(tmp_path / "old", "BertForSequenceClassification", id2label={0: "no", 1: "yes"})
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "old"), str(tmp_path / "new"), "--to", "msgpack"])
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout.splitlines()[0])["files"]
    assert {"config.json", "flax_model.msgpack", "vocab.txt"} <= written.keys()
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "new"), str(tmp_path / "again")])
    assert done.exit_code == 0, done.output
    model = bertie.BertForSequenceClassification.from_pretrained(tmp_path / "again")
    assert model.config.id2label == {0: "no", 1: "yes"}
    assert bertie.pipeline("text-classification", tmp_path / "again")(["a b"])[0]["label"] in ("no", "yes")


@pytest.mark.parametrize("flags", [{"from_tf": True, "from_flax": True}, {"from_tf": True, "use_safetensors": True}])
def test_one_source_of_weights(flags: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(InputError, match="each select the weights"):
        bertie.BertModel.from_pretrained(tmp_path, **flags)
    assert bertie.BertModel.from_pretrained(tmp_path, from_tf=False, from_flax=False)


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    model = drawn("BertForMaskedLM")
    with torch.no_grad():
        model.cls.predictions.bias[3] = float("nan")
    model.save_pretrained(tmp_path / "old")
    with pytest.raises(CheckpointError, match=r"'cls.predictions.bias' has NaN or infinite weights"):
        bertie.convert(tmp_path / "old", tmp_path / "new", "h5")
    assert np.isnan(
        bertie.BertForMaskedLM.from_pretrained(tmp_path / "old", allow_nan=True).cls.predictions.bias[3].item()
    )


def test_a_name_in_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, cache = saved(tmp_path / "hub"), tmp_path / "cache"
    bertie.convert(tmp_path / "hub", tmp_path / "flax", "msgpack")
    cache.mkdir()
    asked: list[str] = []

    def download(*_: Any, allow_patterns: list[str], **__: Any) -> str:
        asked.extend(allow_patterns)
        for pattern in allow_patterns:
            for path in (tmp_path / "flax").glob(pattern):
                (cache / path.name).write_bytes(path.read_bytes())
        return str(cache)

    names = [path.name for path in (tmp_path / "flax").iterdir()]
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: names)
    assert_same(model, bertie.BertForPreTraining.from_pretrained(bertie.convert("someone/flax", tmp_path / "new")))
    assert "tf_model.h5" not in asked
    assert_same(model, bertie.BertForPreTraining.from_pretrained("someone/flax", from_flax=True))
