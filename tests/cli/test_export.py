"""``bertie export onnx``: a folder that other programs open, or an error and no folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import bertie
from bertie.compression import check
from bertie.export.exporting import Source
from bertie.export.onnx_model import OnnxModel
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tasks.sentence_transformers_writing import write_recipe

runtime = pytest.importorskip("onnxruntime")
Run = Callable[..., Any]
SHAPE = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
TEXTS = ["A cat sat on the mat.", "It rained all day and nobody came.", "Why?"]


@pytest.fixture
def classifier(mini: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = bertie.BertConfig(**SHAPE, num_labels=3, id2label={0: "good", 1: "bad", 2: "neither"})
    bertie.BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    bertie.BertTokenizer.from_pretrained(mini).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "LICENSE").write_text("free")
    return tmp_path / "model"


@pytest.fixture
def embedder(mini: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    bertie.BertModel(bertie.BertConfig(**SHAPE)).save_pretrained(tmp_path / "embedder")
    bertie.BertTokenizer.from_pretrained(mini).save_pretrained(tmp_path / "embedder")
    write_recipe(tmp_path / "embedder", Recipe(max_length=9, is_stated=True), SHAPE["hidden_size"])
    return tmp_path / "embedder"


def answers(folder: Path, path: str) -> dict[str, Any]:
    """Return a graph's outputs for `TEXTS`, tokenized by transformers with the folder's tokenizer."""
    read = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, truncation=True, return_tensors="np")
    session = runtime.InferenceSession(str(folder / path))
    given = {each.name: read[each.name].astype(np.int64) for each in session.get_inputs()}
    return dict(zip((each.name for each in session.get_outputs()), session.run(None, given), strict=True))


def test_a_classifier(run: Run, classifier: Path, tmp_path: Path) -> None:
    ran = run("export", "onnx", classifier, tmp_path / "out")
    assert ran.code == 0, ran.err
    (record,) = ran.records
    assert (record["task"], record["outputs"]) == ("text-classification", ["logits", "scores"])
    assert max(record["difference"].values()) < 1e-5
    assert "in scores, relative to the largest number, from bertie's engine" in ran.err
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files >= {"config.json", "tokenizer.json", "tokenizer_config.json", "LICENSE", "onnx/model.onnx"}
    assert transformers.AutoConfig.from_pretrained(tmp_path / "out").id2label == {0: "good", 1: "bad", 2: "neither"}
    scores = answers(tmp_path / "out", "onnx/model.onnx")["scores"]
    for found, answer in zip(
        scores, bertie.pipeline("text-classification", classifier)(TEXTS, top_k=None), strict=True
    ):
        wanted = {each["label"]: each["score"] for each in answer}
        np.testing.assert_allclose(found, [wanted[name] for name in ("good", "bad", "neither")], atol=1e-5)
    assert not list(tmp_path.glob(".*"))


def test_vectors(run: Run, embedder: Path, tmp_path: Path) -> None:
    assert run("export", "onnx", embedder, tmp_path / "out").code == 0
    found = answers(tmp_path / "out", "onnx/model.onnx")["sentence_embedding"]
    np.testing.assert_allclose(found, bertie.pipeline("embed", embedder)(TEXTS), atol=1e-5)  # cut at 9 tokens too
    assert {"modules.json", "1_Pooling"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_int8(run: Run, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_rates", lambda models, texts, rounds: [1.0, 2.0])
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 3))
    texts = ("--texts", tmp_path / "texts.txt", "--min-cosine", 0.9)
    ran = run("export", "onnx", classifier, tmp_path / "out", "--int8", *texts)
    assert ran.code == 0, ran.err
    (record,) = ran.records
    assert record["bytes"] < 0.3 * record["bytes_before"]
    assert record["cosine_worst"] > 0.9
    assert 0 <= record["agreement"] <= 1
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in config
    scores = answers(tmp_path / "out", "onnx/model_quantized.onnx")["scores"]
    run("export", "onnx", classifier, tmp_path / "whole")
    np.testing.assert_allclose(scores, answers(tmp_path / "whole", "onnx/model.onnx")["scores"], atol=0.05)
    # a quantised folder is exported as it is
    assert run("quantize", classifier, tmp_path / "small", *texts).code == 0
    ran = run("export", "onnx", tmp_path / "small", tmp_path / "again", "--min-cosine", 0.9)
    assert (ran.code, "for the worst text, with bertie's engine" in ran.err) == (0, True)
    assert ran.records[0]["path"].endswith("onnx/model_quantized.onnx")
    ran = run("export", "onnx", tmp_path / "small", tmp_path / "twice", "--int8", *texts)
    assert (ran.code, "The model is int8 already, and so is its graph" in ran.err) == (2, True)
    ran = run("export", "onnx", tmp_path / "small", tmp_path / "twice", "--min-cosine", 1)
    assert (ran.code, "to the engine is " in ran.err) == (2, True)
    assert not (tmp_path / "twice").exists()


def test_an_int8_graph_that_is_slower_is_not_written(
    run: Run, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_rates", lambda models, texts, rounds: [2.0, 1.0])
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    line = ("export", "onnx", classifier, tmp_path / "out", "--int8", "--texts", tmp_path / "texts.txt")
    ran = run(*line, "--min-cosine", 0.5)
    assert (ran.code, "It would be slower on this machine (0.50 x). Nothing is written" in ran.err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert run(*line, "--min-cosine", 0.5, "--force").code == 0


def test_a_graph_that_differs_is_not_written(
    run: Run, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OnnxModel.answers
    wrong = {"logits": 0.1}
    monkeypatch.setattr(
        OnnxModel,
        "answers",
        lambda self, rows: {name: each + wrong.get(name, 0) for name, each in right(self, rows).items()},
    )
    ran = run("export", "onnx", classifier, tmp_path / "out")
    assert (ran.code, "The graph's logits differ from the engine's by " in ran.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_mistakes(run: Run, classifier: Path, embedder: Path, tmp_path: Path) -> None:
    bertie.BertLMHeadModel(bertie.BertConfig(**SHAPE, is_decoder=True)).save_pretrained(tmp_path / "decoder")
    write_recipe(embedder, Recipe(prompts={"query": "q: "}, include_prompt=False, is_stated=True), 64)
    for arguments, message in (
        (("tflite", classifier, "out"), "The format is 'tflite'; allowed: onnx."),
        (("onnx", classifier, classifier), "is not empty; name a new one"),
        (("onnx", classifier, "out", "--task", "sing"), "There is no task 'sing'"),
        (("onnx", tmp_path / "decoder", "out"), "which has no graph; allowed: "),
        (("onnx", tmp_path / "decoder", "out", "--task", "text-generation"), "which has no graph; allowed: "),
        (("onnx", classifier, "out", "--task", "question-answering"), "head was never trained in it"),
        (("onnx", embedder, "out"), "pools a text without its prompt (include_prompt=false)"),
        (("onnx", tmp_path / "none", "out"), "there is no folder"),
    ):
        ran = run("export", *arguments[:2], tmp_path / arguments[2], *arguments[3:])
        assert (ran.code, message in ran.err) == (2, True), ran.err
    assert not (tmp_path / "out").exists()
    assert Source.open(embedder, "feature-extraction").row.name == "feature-extraction"


@pytest.mark.slow
def test_openvino_gives_the_same_vectors(run: Run, minilm: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    assert run("export", "onnx", minilm, tmp_path / "out").code == 0
    wanted = bertie.pipeline("embed", minilm)(TEXTS)
    precise = {"INFERENCE_PRECISION_HINT": "f32"}  # the default is bfloat16 where the processor has it
    model = openvino.Core().compile_model(tmp_path / "out" / "onnx" / "model.onnx", "CPU", precise)
    for count in (1, 3):  # batches of any size, texts of any length
        read = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")(
            TEXTS[:count], padding=True, return_tensors="np"
        )
        found = model({each.any_name: read[each.any_name] for each in model.inputs})["sentence_embedding"]
        np.testing.assert_allclose(found, wanted[:count], atol=1e-5)
