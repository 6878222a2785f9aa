"""bertie's models inside transformers' EncoderDecoderModel: the same loss, gradients and generated ids as its own."""

import copy

import pytest
import torch
import transformers

import bertie

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DECODER = {"is_decoder": True, "add_cross_attention": True}
IDS = torch.tensor([[1, 7, 3, 9, 4], [1, 5, 6, 0, 0]])
MASK = (IDS != 0).long()
LABELS = torch.tensor([[8, 2, 11, 3], [4, 9, 3, -100]])


def joined(encoder, decoder):
    model = transformers.EncoderDecoderModel(encoder=encoder, decoder=decoder)
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 1
    model.config.pad_token_id = model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    return model.eval()


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    theirs = [
        transformers.BertModel(transformers.BertConfig(**SIZES, initializer_range=0.3)),
        transformers.BertLMHeadModel(transformers.BertConfig(**SIZES, **DECODER, initializer_range=0.3)),
    ]
    ours = [
        bertie.BertModel(bertie.BertConfig(**SIZES)),
        bertie.BertLMHeadModel(bertie.BertConfig(**SIZES, **DECODER)),
    ]
    for one, other in zip(ours, theirs, strict=True):
        one.load_state_dict(other.state_dict())
    return joined(*ours), joined(*theirs)


def test_weights_stay_when_models_are_joined(pair):
    ours, theirs = pair
    expected = theirs.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())


def test_loss_and_gradients(pair):
    outputs = [model(input_ids=IDS, attention_mask=MASK, labels=LABELS) for model in pair]
    torch.testing.assert_close(outputs[0].loss, outputs[1].loss)
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits, atol=1e-5, rtol=1e-5)
    for output, model in zip(outputs, pair, strict=True):
        model.zero_grad()
        output.loss.backward()
    expected = dict(pair[1].named_parameters())
    for name, parameter in pair[0].named_parameters():
        if expected[name].grad is not None:
            torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"use_cache": False}])
def test_generated_ids(pair, options):
    found = [model.generate(IDS, attention_mask=MASK, max_new_tokens=6, **options) for model in pair]
    assert torch.equal(*found)


def test_a_saved_pair_is_read_by_transformers(pair, tmp_path):
    ours = copy.deepcopy(pair[0])
    ours.save_pretrained(tmp_path)
    again = transformers.EncoderDecoderModel.from_pretrained(tmp_path).eval()
    given = {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS}
    torch.testing.assert_close(again(**given).loss, ours(**given).loss)


def test_a_config_of_both_takes_ours_as_dicts():
    encoder, decoder = bertie.BertConfig(**SIZES), bertie.BertConfig(**SIZES, **DECODER)
    both = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    assert both.encoder.hidden_size == 16
    again = transformers.EncoderDecoderConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict())
    assert again.decoder.add_cross_attention
