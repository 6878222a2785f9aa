"""``bertie quantize``: a complete folder, or an error and no folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bertie
from bertie.compression import check

Run = Callable[..., Any]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("id,text\n1,A cat sat on the mat.\n2,It rained all day and nobody came.\n3,Why?\n")
    return path


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_rates", lambda models, texts, rounds: [1.0, 2.0])


@pytest.fixture
def classifier(minilm: Path, tmp_path: Path) -> Path:
    config = bertie.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    bertie.BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "LICENSE").write_text("free")
    (tmp_path / "model" / "other.bin").write_bytes(b"x")
    return tmp_path / "model"


@pytest.mark.usefixtures("faster")
def test_a_sentence_transformers_folder(run: Run, minilm: Path, texts: Path, tmp_path: Path) -> None:
    ran = run("quantize", minilm, tmp_path / "small", "--texts", texts)
    assert ran.code == 0
    (record,) = ran.records
    assert record["cosine_worst"] >= 0.99
    assert record["bytes"] < 0.3 * record["bytes_before"]
    assert (record["texts"], record["agreement"], record["speed_up"]) == (1, None, 2.0)
    assert f"calibrated   on 2 texts of {texts}" in ran.err
    assert f"compared     on 1 text of {texts}, which did not calibrate" in ran.err
    words = ["A kitten sleeps.", "Share prices fell."]
    small, whole = (bertie.pipeline("embed", str(folder))(words) for folder in (tmp_path / "small", minilm))
    assert (small * whole).sum(axis=1).min() > 0.98
    assert np.allclose(np.linalg.norm(small, axis=1), 1, atol=1e-5)
    assert not list(tmp_path.glob(".*"))
    again = run("quantize", tmp_path / "small", tmp_path / "smaller")
    assert (again.code, again.err) == (2, "bertie: The model is int8 already; quantize its floating-point version.\n")


def test_an_int8_model_becomes_one_in_floating_point(run: Run, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    ran = run("dequantize", "bertie-mini-uncased", wide)
    assert (ran.code, ran.records) == (0, [{"model": str(wide)}])
    assert {"README.md", "vocab.txt", "tokenizer.json"} <= {path.name for path in wide.iterdir()}
    text = "She opened the [MASK]."
    (found,), (expected,) = (bertie.pipeline("fill-mask", model)(text, top_k=1) for model in (str(wide), None))
    assert found["token_str"] == expected["token_str"]
    assert found["score"] == pytest.approx(expected["score"], abs=0.02)
    for arguments, message in (
        ((wide, tmp_path / "wider"), "The model has no int8 weights"),
        (("bertie-mini-uncased", wide), "is not empty; name a new one"),
    ):
        ran = run("dequantize", *arguments)
        assert ran.code == 2
        assert message in ran.err


@pytest.mark.usefixtures("faster")
def test_a_classifier(run: Run, classifier: Path, texts: Path, tmp_path: Path) -> None:
    ran = run("quantize", classifier, tmp_path / "small", "--texts", texts, "--check", texts)
    assert (ran.records[0]["texts"], ran.records[0]["agreement"]) == (3, 1.0)
    assert f"calibrated   on 3 texts of {texts}" in ran.err
    assert "predictions  100.00% equal" in ran.err
    names = {path.name for path in (tmp_path / "small").iterdir()}
    assert {"model.safetensors", "config.json", "vocab.txt", "tokenizer.json", "LICENSE"} <= names
    assert "other.bin" not in names
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert config["quantization_config"]["method"] == "bertie-int8"
    assert run("classify", "-m", tmp_path / "small", "fine").code == 0
    assert "int8" in run("inspect", tmp_path / "small").out


@pytest.mark.parametrize(
    ("rates", "options", "message"),
    [
        ([2.0, 1.0], [], "It would be slower on this machine (0.50 x). Nothing is written; --force"),
        ([1.0, 2.0], ["--min-cosine", 1], "The worst text's cosine is "),
    ],
)
def test_refused(
    run: Run,
    classifier: Path,
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rates: list[float],
    options: list[object],
    message: str,
) -> None:
    monkeypatch.setattr(check, "_rates", lambda models, texts, rounds: rates)
    out = tmp_path / "small"
    ran = run("quantize", classifier, out, "--texts", texts, *options)
    assert ran.code == 2
    assert message in ran.err
    assert not out.exists()
    assert run("quantize", classifier, out, "--texts", texts, "--force", *options).code == 0
    assert bertie.BertForSequenceClassification.from_pretrained(out)


def test_mistakes(run: Run, classifier: Path, texts: Path, tmp_path: Path) -> None:
    ran = run("quantize", classifier, tmp_path)
    assert (ran.code, "is not empty; name a new one" in ran.err) == (2, True)
    ran = run("quantize", classifier, texts)
    assert (ran.code, "is a file; name a new folder" in ran.err) == (2, True)
    ran = run("quantize", tmp_path / "none", tmp_path / "small")
    assert (ran.code, "there is no folder" in ran.err) == (2, True)
    config = json.loads((classifier / "config.json").read_text())
    config["architectures"] = ["BertForQuestionAnswering"]
    (classifier / "config.json").write_text(json.dumps(config))
    ran = run("quantize", classifier, tmp_path / "small", "--texts", texts)
    assert (ran.code, "lacks 'qa_outputs.bias'; train it" in ran.err) == (2, True)
