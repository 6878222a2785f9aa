"""Files that hold embeddings, decoder and biases once, under either name, are read if the result is exact."""

from collections.abc import Collection
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

import bertie
from bertie.engine import Engine
from bertie.errors import CheckpointError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
TABLE, DECODER = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
BIAS, ITS_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"
IDS = torch.tensor([[2, 5, 6, 4, 3]])


def saved(folder: Path, is_tied: bool, without: Collection[str]) -> transformers.BertForMaskedLM:
    """Return the reference's model, saved in ``folder`` without some of its tensors."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(WORDS), tie_word_embeddings=is_tied, **shape)
    model = transformers.BertForMaskedLM(config).eval()
    model.cls.predictions.bias.data.normal_()
    if not is_tied:
        model.cls.predictions.decoder.weight.data.normal_()
        model.cls.predictions.decoder.bias.data.normal_()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items() if name not in without}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return model


@pytest.mark.parametrize(
    ("is_tied", "without"),
    [(True, [TABLE]), (True, [TABLE, BIAS]), (True, [DECODER]), (True, [DECODER, ITS_BIAS]), (False, [BIAS])],
)
def test_tensors_stored_once_load_into_every_model(tmp_path: Path, is_tied: bool, without: list[str]) -> None:
    model = saved(tmp_path, is_tied, without)
    logits, hidden = model(IDS).logits, model.bert(IDS).last_hidden_state
    theirs = transformers.BertForMaskedLM.from_pretrained(tmp_path).eval()(IDS).logits
    torch.testing.assert_close(theirs, logits)
    torch.testing.assert_close(bertie.BertForMaskedLM.from_pretrained(tmp_path).eval()(IDS).logits, logits)
    for kind in (bertie.BertModel, bertie.BertForTokenClassification):
        ours = kind.from_pretrained(tmp_path).eval()
        ours = getattr(ours, "bert", ours)
        torch.testing.assert_close(ours(IDS).last_hidden_state, hidden)
    vector = bertie.pipeline("embed", tmp_path, normalize=False)("a b")
    text = model.bert(torch.tensor([[2, 5, 6, 3]])).last_hidden_state.mean(dim=1)[0]
    torch.testing.assert_close(torch.as_tensor(vector), text)
    best = bertie.pipeline("fill-mask", tmp_path)("a b [MASK]")[0]
    expected = model(torch.tensor([[2, 5, 6, 4, 3]])).logits[0, 3].softmax(-1)
    assert best["score"] == pytest.approx(expected.max().item(), abs=1e-6)
    assert Engine.open(tmp_path) is not None


@pytest.mark.parametrize(
    ("is_tied", "without", "named"),
    [
        (True, [BIAS, ITS_BIAS], BIAS),
        (False, [BIAS, ITS_BIAS], ITS_BIAS),
        (False, [ITS_BIAS], ITS_BIAS),
        (False, [DECODER], DECODER),
    ],
)
def test_missing_parameters_are_named(tmp_path: Path, is_tied: bool, without: list[str], named: str) -> None:
    model = saved(tmp_path, is_tied, without)
    hidden = model.bert(IDS).last_hidden_state
    torch.testing.assert_close(bertie.BertModel.from_pretrained(tmp_path).eval()(IDS).last_hidden_state, hidden)
    assert bertie.pipeline("embed", tmp_path)("a b").shape == (16,)
    with pytest.raises(CheckpointError, match=rf"lacks '{named}' of BertForMaskedLM"):
        bertie.pipeline("fill-mask", tmp_path)


def test_an_untied_decoder_does_not_become_the_embeddings(tmp_path: Path) -> None:
    saved(tmp_path, is_tied=False, without=[TABLE])
    with pytest.raises(CheckpointError, match=f"lacks 1 tensors of the encoder .'{TABLE}'"):
        bertie.BertForMaskedLM.from_pretrained(tmp_path)
