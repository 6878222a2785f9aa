"""bertie.dequantize: int8 models become float32 models that can be trained and saved like any other."""

from pathlib import Path

import pytest
import torch
import transformers

import bertie
from bertie import BertForMaskedLM, BertForPreTraining, InputTypeError, progress
from bertie.hub import DEFAULT_PRETRAINED_MODEL


@pytest.fixture(scope="module")
def small() -> BertForPreTraining:
    return BertForPreTraining.from_pretrained(DEFAULT_PRETRAINED_MODEL)


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    tokenizer = bertie.BertTokenizer.from_pretrained(DEFAULT_PRETRAINED_MODEL)
    texts = ["She opened the [MASK] and walked into the garden.", "He drank a cup of [MASK]."]
    return dict(tokenizer(texts, padding=True, return_tensors="pt"))


def test_it_computes_what_the_int8_model_does(small: BertForPreTraining, batch: dict[str, torch.Tensor]) -> None:
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    wide = bertie.dequantize(small)
    assert {parameter.dtype for parameter in wide.parameters()} == {torch.float32}
    with torch.inference_mode():
        found, expected = wide(**batch).prediction_logits, small(**batch).prediction_logits
    is_text = batch["attention_mask"].bool()
    assert torch.nn.functional.cosine_similarity(found, expected, dim=-1)[is_text].min() > 0.99
    assert all(torch.equal(before[name], tensor) for name, tensor in small.state_dict().items())
    assert small.config.quantization_config is not None


def test_each_weight_is_the_dequantised_one(small: BertForPreTraining) -> None:
    wide = bertie.dequantize(small)
    name = "bert.encoder.layer.3.intermediate.dense"
    layer, eye = small.get_submodule(name), torch.eye(384)
    factor = eye if layer.input_scale is None else eye * layer.input_scale
    expected = factor @ (layer.weight * layer.weight_scale[:, None]).T + layer.bias
    assert torch.equal(wide.get_submodule(name).bias, layer.bias)
    torch.testing.assert_close(wide.get_submodule(name)(eye), expected, rtol=0, atol=1e-5)
    table = small.bert.embeddings.word_embeddings
    ids = torch.tensor([0, 103, 30521])
    assert torch.equal(wide.bert.embeddings.word_embeddings(ids), table(ids))


def test_it_can_be_trained_and_keeps_its_tie(batch: dict[str, torch.Tensor]) -> None:
    wide = bertie.dequantize(BertForMaskedLM.from_pretrained(DEFAULT_PRETRAINED_MODEL)).train()
    words = wide.bert.embeddings.word_embeddings
    assert wide.cls.predictions.decoder.weight is words.weight
    wide(**batch, labels=batch["input_ids"]).loss.backward()
    assert words.weight.grad.abs().sum() > 0
    assert words.weight.grad[0].abs().sum() > 0  # through the decoder alone: no text contains [PAD]
    assert all(parameter.grad is not None for parameter in wide.parameters())


def test_transformers_opens_it(small: BertForPreTraining, batch: dict[str, torch.Tensor], tmp_path: Path) -> None:
    wide = bertie.dequantize(small)
    wide.save_pretrained(tmp_path)
    theirs = transformers.BertForPreTraining.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        found, expected = wide(**batch), theirs(**batch)
    is_text = batch["attention_mask"].bool()
    scale = expected.prediction_logits.abs().max()
    assert (found.prediction_logits - expected.prediction_logits)[is_text].abs().max() <= 1e-5 * scale
    torch.testing.assert_close(found.seq_relationship_logits, expected.seq_relationship_logits, rtol=0, atol=1e-5)


def test_models_without_int8_weights_are_refused(small: BertForPreTraining) -> None:
    with pytest.raises(InputTypeError, match="no int8 weights"):
        bertie.dequantize(bertie.dequantize(small))
    with pytest.raises(InputTypeError, match="takes a model of bertie's, not a Linear"):
        bertie.dequantize(torch.nn.Linear(2, 2))


def test_an_int8_checkpoint_is_dequantised_for_training_with_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_said", set())
    rows = [{"text": text, "label": label} for text, label in (("good", "yes"), ("bad", "no")) * 8]
    result = bertie.finetune("classification", rows, model=DEFAULT_PRETRAINED_MODEL, epochs=1, test=0, dev=0)
    assert {parameter.dtype for parameter in result.model.parameters()} == {torch.float32}
    assert result.model.config.quantization_config is None
    assert (
        "The weights of 'bertie-mini-uncased' are int8; training starts from their dequantised float32 values"
        in caplog.text
    )
