"""bertie.prune: what matters least goes, the folder opens everywhere, and what cannot be is refused."""

from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
import transformers
from small import TINY

import bertie
from bertie.compression import check
from bertie.compression.pruning import importances, narrowed, without_layers
from bertie.compression.quantizing import encode
from bertie.engine import Engine
from bertie.errors import BertieError, InputError, InputTypeError

TEXTS = ["A cat sat on the mat.", "It rained all day, and nobody came.", "Why?", "The price of bread rose again."] * 3


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_rates", lambda models, texts, rounds: [1.0, 2.0])


@pytest.fixture
def folder(minilm: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = bertie.BertConfig(**{**TINY, "num_hidden_layers": 3, "initializer_range": 0.3})
    model: Any = bertie.BertForSequenceClassification(config)
    with torch.no_grad():
        idle = model.bert.encoder.layer[1]  # a block that adds nothing, and neurons that say nothing
        for part in (idle.attention.output, idle.output):
            part.dense.weight.zero_()
            part.dense.bias.zero_()
        for layer in (model.bert.encoder.layer[0], model.bert.encoder.layer[2]):
            layer.output.dense.weight[:, ::2] = 0
    model.save_pretrained(tmp_path / "model")
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_what_does_nothing_goes_first(folder: Path, tmp_path: Path) -> None:
    found = bertie.prune(folder, TEXTS, tmp_path / "small", layers=2, intermediate_size=12)
    assert found.agreement == 1.0
    assert found.cosine_worst > 0.9999
    small: Any = bertie.BertForSequenceClassification.from_pretrained(tmp_path / "small")
    assert (small.config.num_hidden_layers, small.config.intermediate_size) == (2, 12)
    whole: Any = bertie.BertForSequenceClassification.from_pretrained(folder)
    for mine, number in zip(small.bert.encoder.layer, (0, 2), strict=True):
        assert torch.equal(
            mine.intermediate.dense.weight, whole.bert.encoder.layer[number].intermediate.dense.weight[1::2]
        )
    ids = torch.tensor([[101, 2023, 2003, 102]])
    reference = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "small").eval()
    torch.testing.assert_close(small(ids).logits, reference(ids).logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(small(ids).logits, whole(ids).logits, atol=1e-4, rtol=1e-4)
    assert Engine.open(tmp_path / "small").config.intermediate_size == 12


def test_importance_is_the_squared_change_of_the_first_order(folder: Path) -> None:
    model: Any = bertie.BertForSequenceClassification.from_pretrained(folder)
    found = importances(model, encode(TEXTS, bertie.AutoTokenizer.from_pretrained(folder), model))
    assert [tuple(each.shape) for each in found] == [(24,)] * 3
    assert (found[0][::2] == 0).all()
    assert (found[0][1::2] > 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_model_stays_as_it_was(folder: Path) -> None:
    model: Any = bertie.BertForSequenceClassification.from_pretrained(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features = encode(TEXTS, bertie.AutoTokenizer.from_pretrained(folder), model)
    narrowed(without_layers(model, 1, features), 4, features)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.config.num_hidden_layers == 3


def test_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    for options, message in (
        ({}, "Nothing is to be left out; give layers or intermediate_size"),
        ({"layers": 3, "intermediate_size": 24}, "Nothing is to be left out; give layers or intermediate_size"),
        ({"layers": 4}, "layers is 4; allowed are 1 to 3"),
        ({"intermediate_size": 25}, "intermediate_size is 25; allowed are 1 to 24"),
    ):
        with pytest.raises(InputError, match=message):
            bertie.prune(folder, TEXTS, out, **options)
    with pytest.raises(BertieError, match="Only .* of the predictions are equal, below 100.00%. Nothing is written"):
        bertie.prune(folder, TEXTS, out, layers=1, intermediate_size=1, min_agreement=1.0)
    whole: Any = bertie.BertForSequenceClassification.from_pretrained(folder)
    small = bertie.quantize(whole, texts=TEXTS, tokenizer=bertie.AutoTokenizer.from_pretrained(folder), min_cosine=0)
    copytree(folder, tmp_path / "int8")
    small.save_pretrained(tmp_path / "int8")
    with pytest.raises(InputTypeError, match="An int8 model keeps its neurons; prune the floating-point model"):
        bertie.prune(tmp_path / "int8", TEXTS, out, intermediate_size=12)
    assert not out.exists()
