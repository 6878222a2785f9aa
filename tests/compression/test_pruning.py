"""bertie.prune: what matters least is removed, the folder opens everywhere, and invalid arguments are refused."""

from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from small import TINY

import bertie
from bertie.compression import check
from bertie.compression.observe import cosines, vectors
from bertie.compression.pruning import input_statistics, without_heads, without_layers, without_neurons
from bertie.compression.quantizing import encode
from bertie.engine import Engine
from bertie.engine.blocks import FEWEST_SAVED
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
        idle = model.bert.encoder.layer[1]  # a block without effect, and neurons without effect
        for part in (idle.attention.output, idle.output):
            part.dense.weight.zero_()
            part.dense.bias.zero_()
        for layer in (model.bert.encoder.layer[0], model.bert.encoder.layer[2]):
            layer.output.dense.weight[:, ::2] = 0
    model.save_pretrained(tmp_path / "model")
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_layers_and_neurons_without_effect_are_removed_first(folder: Path, tmp_path: Path) -> None:
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


def test_heads_without_effect_are_removed_first_and_any_program_opens_the_folder(folder: Path, tmp_path: Path) -> None:
    whole: Any = bertie.BertForSequenceClassification.from_pretrained(folder)
    width = whole.config.hidden_size // whole.config.num_attention_heads
    with torch.no_grad():
        whole.bert.encoder.layer[0].attention.output.dense.weight[:, :width] = 0
    whole.save_pretrained(folder)
    found = bertie.prune(folder, TEXTS, tmp_path / "small", heads=4)  # of 6; those of layer 1 have no effect
    assert found.cosine_worst > 0.9999
    small: Any = bertie.BertForSequenceClassification.from_pretrained(tmp_path / "small").eval()
    engine = Engine.open(tmp_path / "small")
    assert [block.heads[0] for block in engine._blocks.blocks] == [1, 1, 2]
    assert engine._blocks.packed is not None
    features = encode(TEXTS[:1], bertie.AutoTokenizer.from_pretrained(folder), small)
    ids, kind = torch.from_numpy(features.ids)[None], transformers.BertForSequenceClassification
    reference = kind.from_pretrained(tmp_path / "small", attn_implementation="eager").eval()
    expected = reference(ids, output_attentions=True)
    torch.testing.assert_close(small(ids).logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.from_numpy(engine.logits(features)), expected.logits, atol=1e-5, rtol=1e-5)
    for layer, attention in enumerate(expected.attentions):
        (weights,) = engine.attention_weights(features, layer)
        torch.testing.assert_close(torch.from_numpy(weights), attention[0], atol=1e-5, rtol=1e-5)

    reference.train()(ids, labels=torch.tensor([1])).loss.backward()
    attention = reference.bert.encoder.layer[0].attention
    for gradient in (attention.self.value.weight.grad, attention.output.dense.weight.grad.T):  # training leaves zeros
        assert not gradient[:width].any()
        assert gradient[width:].any()


def test_quantizing_keeps_removed_heads(folder: Path, tmp_path: Path) -> None:
    bertie.prune(folder, TEXTS, tmp_path / "small", heads=4, force=True)
    whole: Any = bertie.BertForSequenceClassification.from_pretrained(tmp_path / "small").eval()
    small = bertie.quantize(whole, texts=TEXTS, tokenizer=bertie.AutoTokenizer.from_pretrained(folder), min_cosine=0)
    engines = [Engine.of(model) for model in (whole, small)]
    assert len({tuple(block.heads[0] for block in engine._blocks.blocks) for engine in engines}) == 1
    features = encode(TEXTS[:1], bertie.AutoTokenizer.from_pretrained(folder), small)
    states = torch.from_numpy(engines[1].hidden_states(features))
    torch.testing.assert_close(states, small.bert(torch.from_numpy(features.ids)[None])[0][0], atol=1e-4, rtol=1e-4)


def test_a_block_whose_heads_are_all_zeros_is_computed_with_one(folder: Path) -> None:
    model: Any = bertie.BertForSequenceClassification.from_pretrained(folder).eval()
    attention = model.bert.encoder.layer[2].attention
    with torch.no_grad():
        for part in (attention.self.query, attention.self.key, attention.self.value):
            part.weight[:], part.bias[:] = 0, 0
        attention.output.dense.weight[:] = 0
    engine = Engine.of(model)
    assert [block.heads[0] for block in engine._blocks.blocks] == [2, 2, 1]
    tokenizer = bertie.AutoTokenizer.from_pretrained(folder)
    features = encode([TEXTS[1] * 2, TEXTS[2]], tokenizer, model)
    rows = np.split(features.ids, features.lengths[:1])
    assert len(features.ids) - len(rows) >= FEWEST_SAVED  # so that the last block computes first tokens alone
    expected = torch.cat([model(torch.from_numpy(ids)[None]).logits for ids in rows])
    torch.testing.assert_close(torch.from_numpy(engine.logits(features)), expected, atol=1e-5, rtol=1e-5)


def test_importance_is_the_squared_change_of_the_first_order(folder: Path) -> None:
    model: Any = bertie.BertForSequenceClassification.from_pretrained(folder)
    found = input_statistics(model, encode(TEXTS, bertie.AutoTokenizer.from_pretrained(folder), model), "output.dense")
    assert [tuple(each.importance.shape) for each in found] == [(24,)] * 3
    assert (found[0].importance[::2] == 0).all()
    assert (found[0].importance[1::2] > 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_removed_neurons_are_predicted_from_kept_ones(folder: Path) -> None:
    """If every neuron is duplicated, half of them can be removed, and nothing changes."""
    model: Any = bertie.BertForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            for part in (layer.intermediate.dense.weight, layer.intermediate.dense.bias):
                part[1::2] = part[::2]
    features = encode(TEXTS, bertie.AutoTokenizer.from_pretrained(folder), model)
    assert cosines(vectors(without_neurons(model, 12, features), features), vectors(model, features)).min() > 0.99


def test_a_layer_without_effect_may_lose_heads_and_neurons(folder: Path) -> None:
    model: Any = bertie.BertForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        for part in (model.bert.encoder.layer[1].attention.self.value, model.bert.encoder.layer[1].intermediate.dense):
            part.weight[:], part.bias[:] = 0, 0
    features = encode(TEXTS, bertie.AutoTokenizer.from_pretrained(folder), model)
    small = without_neurons(without_heads(model, 5, features), 23, features)
    assert cosines(vectors(small, features), vectors(model, features)).min() > 0.9


def test_the_original_is_not_modified(folder: Path) -> None:
    model: Any = bertie.BertForSequenceClassification.from_pretrained(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features = encode(TEXTS, bertie.AutoTokenizer.from_pretrained(folder), model)
    without_neurons(without_heads(without_layers(model, 1, features), 1, features), 4, features)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.config.num_hidden_layers == 3


def test_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    for options, message in (
        ({}, "Nothing would be removed; give layers, heads, intermediate_size, or some of them"),
        ({"layers": 3, "heads": 6, "intermediate_size": 24}, "Nothing would be removed; give layers"),
        ({"heads": 7}, "heads is 7; allowed are 1 to 6"),
        ({"heads": 2}, "heads is 2; each of the 3 layers keeps at least one"),
        ({"layers": 2, "heads": 5}, "heads is 5; allowed are 1 to 4"),
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
    with pytest.raises(InputError, match="^texts has 1 text; give at least two, better hundreds"):
        bertie.prune(folder, TEXTS[:1], out, layers=1)
    with pytest.raises(InputTypeError, match="An int8 model keeps its heads and neurons; prune the"):
        bertie.prune(tmp_path / "int8", TEXTS, out, heads=5, intermediate_size=5)
    assert not out.exists()
