"""Words added to a model's vocabulary: which ones, their embeddings, and that all else is unchanged."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import bertie
from bertie.errors import InputError, InputTypeError
from bertie.pretraining.vocabulary_extension import add_words, find_words


def test_the_words_that_save_most_pieces_are_added(mini: Path) -> None:
    tokenizer = bertie.BertTokenizer.from_pretrained(mini)
    texts = ["the hepatocyte and the cholangiocyte", "hepatocyte hepatocyte", "the the zzyzx \u2603"] * 5
    found = find_words(texts, tokenizer, 2)
    assert list(found.pieces) == ["hepatocyte", "cholangiocyte"]
    assert found.tokenizer.tokenize("The hepatocyte") == ["the", "hepatocyte"]
    assert found.tokenizer.convert_tokens_to_ids(["hepatocyte", "cholangiocyte"]) == [30522, 30523]
    assert found.pieces["hepatocyte"] == tokenizer("hepatocyte", add_special_tokens=False)["input_ids"]
    lengths = [len(tokenizer.tokenize(text)) for text in texts]
    assert found.before == pytest.approx(sum(lengths) / (11 * 5))
    assert found.after == pytest.approx(sum(len(found.tokenizer.tokenize(text)) for text in texts) / (11 * 5))
    with pytest.raises(InputError, match="The texts have 3 words of several pieces that occur 5 times, not 4; ask"):
        find_words(texts, tokenizer, 4)
    tokenizer.add_tokens(["<added>"])
    with pytest.raises(InputError, match="has 1 added tokens after its vocabulary"):
        find_words(texts, tokenizer, 1)


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_means_and_old_answers_are_unchanged(tied: bool) -> None:
    torch.manual_seed(0)
    config = bertie.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        tie_word_embeddings=tied,
    )  # fmt: skip
    model = bertie.BertForMaskedLM(config).eval()
    torch.nn.init.normal_(model.cls.predictions.bias)
    ids = torch.tensor([[2, 7, 8, 49]])
    before = model(ids).logits
    words, decoder = model.get_input_embeddings().weight.clone(), model.get_output_embeddings()
    rows, bias = decoder.weight.clone(), decoder.bias.clone()
    add_words(model, {"one": [7, 8], "two": [9, 10, 11]})
    assert model.config.vocab_size == 52
    after = model(ids).logits
    assert torch.equal(after[..., :50], before)

    def means(old: Tensor) -> Tensor:
        return torch.stack([old[[7, 8]].mean(0), old[[9, 10, 11]].mean(0)])

    torch.testing.assert_close(model.get_input_embeddings().weight[50:], means(words))
    torch.testing.assert_close(model.get_output_embeddings().weight[50:], means(rows))
    torch.testing.assert_close(model.get_output_embeddings().bias[50:], means(bias))


def test_an_int8_model_is_refused(mini: Path) -> None:
    model = bertie.BertModel.from_pretrained(mini)
    small = bertie.quantize(model, "int8", texts=["a few words"], tokenizer=bertie.BertTokenizer.from_pretrained(mini))
    with pytest.raises(InputTypeError, match="quantize it again"):
        add_words(small, {"one": [7, 8]})
