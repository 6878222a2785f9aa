"""EncoderDecoderModel: the reference's outputs, losses, gradients, files and ids, for halves of unequal size."""

import copy
import functools
import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.generation.test_generate import SPACE, Shifted

import bertie
from bertie.models import encoder_decoder_generating
from bertie.models.decoding import PackedDecoder

SIZES = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 30,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
ENCODER = SIZES | {"vocab_size": 50, "hidden_size": 16}
DECODER = SIZES | {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 3}
TOKENS = {"decoder_start_token_id": 2, "pad_token_id": 0}
IDS = torch.tensor([[1, 7, 3, 9, 4], [1, 5, 6, 0, 0], [0, 11, 6, 0, 0]])
MASK = (IDS != 0).long()
LABELS = torch.tensor([[8, 2, 11, 3], [4, 9, 3, -100], [5, 3, -100, -100]])
BATCH = {"input_ids": IDS, "attention_mask": MASK}


@functools.cache
def pair(same_width: bool = False) -> tuple[bertie.EncoderDecoderModel, transformers.EncoderDecoderModel]:
    torch.manual_seed(1)
    decoder = DECODER | ({"hidden_size": 16} if same_width else {})
    configs = transformers.BertConfig(**ENCODER), transformers.BertConfig(**decoder)
    both = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(*configs, **TOKENS)
    reference = transformers.EncoderDecoderModel(both).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    ours = bertie.EncoderDecoderModel(bertie.EncoderDecoderConfig.from_dict(both.to_dict())).eval()
    ours.load_state_dict(reference.state_dict())
    return ours, reference


@pytest.fixture(params=[False, True], ids=["projected", "same width"])
def models(request):
    return pair(request.param)


def assert_alike(ours, theirs, atol=1e-5):
    torch.testing.assert_close(ours, theirs, atol=atol * max(1.0, float(theirs.detach().abs().max())), rtol=0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_loss_logits_and_gradients(models):
    found = []
    for model in models:
        model.zero_grad()
        output = model(**BATCH, labels=LABELS)
        output.loss.backward()
        gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
        found.append((output, gradients))
    (ours, mine), (theirs, expected) = found
    assert_alike(ours.loss, theirs.loss)
    assert_alike(ours.logits[LABELS != -100], theirs.logits[LABELS != -100])
    assert_alike(ours.encoder_last_hidden_state[MASK.bool()], theirs.encoder_last_hidden_state[MASK.bool()])
    assert {name for name, each in expected.items() if each.abs().sum() > 0} == set(mine)
    for name, gradient in mine.items():
        assert_alike(gradient, expected[name], 2e-5)


TARGETS = torch.tensor([[2, 8, 2, 11], [2, 4, 9, 3], [2, 5, 3, 6]])


@pytest.mark.parametrize(
    "given",
    [
        {"decoder_attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0], [1, 1, 0, 0]])},
        {"decoder_token_type_ids": torch.tensor([[0, 0, 1, 1]] * 3), "decoder_position_ids": torch.arange(3, 7)[None]},
        {"token_type_ids": torch.ones_like(IDS), "position_ids": torch.arange(4, 9)[None]},
        {"output_attentions": True, "output_hidden_states": True},
    ],
    ids=["mask", "decoder's positions", "encoder's positions", "all layers"],
)
def test_every_argument(models, given):
    models[1].set_attn_implementation("eager")
    ours, theirs = (model(**BATCH, decoder_input_ids=TARGETS, **given) for model in models)
    models[1].set_attn_implementation("sdpa")
    real = given.get("decoder_attention_mask", torch.ones_like(TARGETS)).bool()
    assert_alike(ours.logits[real], theirs.logits[real])
    assert list(ours) == list(theirs)
    for name in ("decoder_hidden_states", "decoder_attentions", "cross_attentions"):
        for layer, expected in zip(ours.get(name, ()), theirs.get(name, ()), strict=True):
            assert_alike(layer, expected)
    for layer, expected in zip(
        ours.get("encoder_hidden_states", ()), theirs.get("encoder_hidden_states", ()), strict=True
    ):
        assert_alike(layer[MASK.bool()], expected[MASK.bool()])


def test_given_encoder_outputs_and_target_vectors(models):
    ours, theirs = models
    embeds = theirs.decoder.get_input_embeddings()(TARGETS).detach()
    states = theirs.encoder(**BATCH)
    expected = theirs(attention_mask=MASK, encoder_outputs=states, decoder_inputs_embeds=embeds).logits
    for outputs in (states, (states.last_hidden_state,), ours.encoder(**BATCH)):
        found = ours(attention_mask=MASK, encoder_outputs=outputs, decoder_inputs_embeds=embeds)
        assert_alike(found.logits, expected)
    embedded = ours.encoder.get_input_embeddings()(IDS)
    assert_alike(ours(inputs_embeds=embedded, attention_mask=MASK, decoder_input_ids=TARGETS).logits, expected)


def test_packed_sources_and_targets(models):
    ours = models[0]
    texts, targets = [row[row != 0].tolist() for row in IDS], [[2, 8, 2], [2], [2, 5]]
    found = ours(bertie.Packed.from_lists(texts), decoder_input_ids=bertie.Packed.from_lists(targets)).logits
    alone = [
        ours(torch.tensor([text]), decoder_input_ids=torch.tensor([target])).logits[0]
        for text, target in zip(texts, targets, strict=True)
    ]
    torch.testing.assert_close(found, torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("same_width", [False, True])
def test_folders_round_trip_with_the_reference(same_width, tmp_path):
    ours, theirs = pair(same_width)
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    assert set(load_file(tmp_path / "ours" / "model.safetensors")) == set(
        load_file(tmp_path / "theirs" / "model.safetensors")
    )
    expected = theirs(**BATCH, decoder_input_ids=TARGETS).logits
    for folder in ("ours", "theirs"):
        for kind in (bertie.AutoModelForSeq2SeqLM, bertie.EncoderDecoderModel, transformers.EncoderDecoderModel):
            again = kind.from_pretrained(tmp_path / folder)
            assert_alike(again(**BATCH, decoder_input_ids=TARGETS).logits, expected)
            assert again.config.decoder_start_token_id == 2
            assert again.generation_config.decoder_start_token_id == 2


@pytest.mark.parametrize("kept", ["encoder.", "decoder.bert.", "both"])
def test_a_folder_of_tied_halves(kept, tmp_path):
    """Older versions wrote shared weights under one of their two names, or under both."""
    torch.manual_seed(0)
    half = bertie.BertConfig(**ENCODER)
    config = bertie.EncoderDecoderConfig.from_encoder_decoder_configs(half, bertie.BertConfig(**ENCODER), **TOKENS)
    config.tie_encoder_decoder = True
    model = bertie.EncoderDecoderModel(config).eval()
    own, other = model.encoder.encoder.layer[0].output.dense, model.decoder.bert.encoder.layer[0].output.dense
    assert own.weight is other.weight
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    twice = [name for name in tensors if name.startswith("encoder.") and f"decoder.bert.{name[8:]}" in tensors]
    assert len(twice) > 30
    if kept != "both":
        for name in twice:
            del tensors[f"decoder.bert.{name[8:]}" if kept == "encoder." else name]
        save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again = bertie.EncoderDecoderModel.from_pretrained(tmp_path)
    own, other = again.encoder.encoder.layer[0].output.dense, again.decoder.bert.encoder.layer[0].output.dense
    assert own.weight is other.weight
    expected = model(**BATCH, decoder_input_ids=TARGETS).logits
    torch.testing.assert_close(again(**BATCH, decoder_input_ids=TARGETS).logits, expected)
    if kept == "both":
        theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
        assert_alike(expected, theirs(**BATCH, decoder_input_ids=TARGETS).logits)


def test_a_folder_without_the_encoders_weights_is_refused(tmp_path):
    pair()[0].save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["encoder.encoder.layer.1.output.dense.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(bertie.CheckpointError, match="lacks 1 tensors of the encoder"):
        bertie.EncoderDecoderModel.from_pretrained(tmp_path)


def test_two_folders_become_one_model(tmp_path):
    torch.manual_seed(0)
    transformers.BertForMaskedLM(transformers.BertConfig(**ENCODER)).save_pretrained(tmp_path / "one")
    transformers.BertForMaskedLM(transformers.BertConfig(**DECODER)).save_pretrained(tmp_path / "two")
    ours, theirs = (
        module.EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "one", tmp_path / "two")
        for module in (bertie, transformers)
    )
    # cross-attention, projection and pooler are new in both
    ours.load_state_dict(theirs.state_dict())
    for model in (ours, theirs):
        model.config.decoder_start_token_id, model.config.pad_token_id = 2, 0
    assert_alike(
        ours(**BATCH, decoder_input_ids=TARGETS).logits, theirs.eval()(**BATCH, decoder_input_ids=TARGETS).logits
    )
    given = bertie.EncoderDecoderModel.from_encoder_decoder_pretrained(
        encoder_model=ours.encoder, decoder_model=ours.decoder, decoder_start_token_id=3
    )
    assert given.encoder is ours.encoder
    assert given.generation_config.decoder_start_token_id == 3
    changed = bertie.EncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "one", tmp_path / "two", encoder_hidden_dropout_prob=0.3
    )
    assert changed.config.encoder.hidden_dropout_prob == 0.3


OPTIONS = {
    "plain": {},
    "end": {"eos_token_id": [13, 29]},
    "beams": {"num_beams": 3, "num_return_sequences": 2, "eos_token_id": [13, 29]},
    "no cache": {"use_cache": False},
    "beams, no cache": {"num_beams": 2, "use_cache": False, "length_penalty": 2.0},
    "penalties": {"repetition_penalty": 1.4, "encoder_repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "source's ngrams": {"encoder_no_repeat_ngram_size": 2, "num_beams": 2},
    "forced": {"forced_bos_token_id": 7, "forced_eos_token_id": 3, "begin_suppress_tokens": [5]},
    "begun": {"decoder_input_ids": torch.tensor([[2, 5, 6], [2, 7, 8], [2, 9, 9]])},
    "begun without the start": {"decoder_input_ids": torch.tensor([[5, 6], [7, 8], [9, 9]])},
    "max_length": {"max_length": 6, "max_new_tokens": None},
    "min_new_tokens": {"min_new_tokens": 5, "eos_token_id": list(range(3, 40, 2))},
    "bad words": {"bad_words_ids": [[8], [3, 5], [2, 7]], "num_beams": 2},
    "allowed": {"prefix_allowed_tokens_fn": lambda text, ids: [(int(ids[-1]) * 3 + text + k) % 40 for k in range(6)]},
    "criterion": {"stopping_criteria": transformers.StoppingCriteriaList([lambda ids, _: ids[:, -1] % 3 == 0])},
    "drawn": {"do_sample": True, "top_p": 0.9, "num_return_sequences": 2},
    "drawn beams": {"do_sample": True, "num_beams": 3, "num_return_sequences": 2},
}
SOURCES = {"input_ids": IDS.clamp(max=39), "attention_mask": MASK}


def written(model, options, **more):
    """Return what a model generates for all sources, with tokens that vary from step to step."""
    torch.manual_seed(5)
    given = {"max_new_tokens": 8, "logits_processor": transformers.LogitsProcessorList([Shifted()]), **options, **more}
    return model.generate(**SOURCES, **{name: value for name, value in given.items() if value is not None})


@pytest.mark.parametrize("options", OPTIONS)
def test_generated_ids(models, options):
    ours, theirs = (written(model, OPTIONS[options]) for model in models)
    assert ours.tolist() == theirs.tolist()


def static():
    return transformers.StaticCache(transformers.BertConfig(**DECODER), max_cache_len=SPACE)


CACHES = {
    "ours": bertie.EncoderDecoderCache,
    "theirs": lambda: transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache()),
    "theirs, static": lambda: transformers.EncoderDecoderCache(static(), static()),
    "of a decoder": transformers.DynamicCache,
}


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("options", ["plain", "beams", "drawn", "drawn beams"])
def test_generated_ids_of_every_cache(options, cache):
    ours, theirs = pair()
    found = written(ours, OPTIONS[options], past_key_values=CACHES[cache]())
    assert found.tolist() == written(theirs, OPTIONS[options]).tolist()


@pytest.mark.parametrize("cache", ["ours", "theirs"])
def test_a_cache_goes_in_and_out(cache):
    """A target in two calls is that of one call, and the reference does the same with its own cache."""
    ours, theirs = pair()
    given = CACHES[cache]()
    begun = written(ours, {"max_new_tokens": 4, "past_key_values": given, "return_dict_in_generate": True})
    assert begun.past_key_values is given
    expected = written(theirs, {})
    for model in (ours, theirs) if cache == "theirs" else (ours,):
        more = {"decoder_input_ids": begun.sequences, "past_key_values": copy.deepcopy(given), "max_new_tokens": 4}
        assert written(model, more).tolist() == expected.tolist()


@pytest.mark.parametrize("beams", [{}, {"num_beams": 2}, {"do_sample": True}, {"do_sample": True, "num_beams": 2}])
def test_outputs_of_generate(models, beams):
    asked = {f"output_{name}": True for name in ("scores", "attentions", "hidden_states")}
    asked |= {"return_dict_in_generate": True, "max_new_tokens": 3, **beams}
    models[1].set_attn_implementation("eager")
    found = []
    for model in models:
        torch.manual_seed(5)
        found.append(model.generate(IDS[:1], **asked))
    ours, theirs = found
    models[1].set_attn_implementation("sdpa")
    assert type(ours).__name__ == type(theirs).__name__
    assert list(ours) == list(theirs)
    for scores, expected in zip(ours.scores, theirs.scores, strict=True):
        assert_alike(scores, expected, 1e-4)
    for name in ("cross_attentions", "decoder_attentions", "decoder_hidden_states"):
        for step, expected in zip(ours[name], theirs[name], strict=True):
            for layer, other in zip(step, expected, strict=True):
                assert_alike(layer, other, 1e-4)
    for layer, other in zip(ours.encoder_hidden_states, theirs.encoder_hidden_states, strict=True):
        assert_alike(layer, other)


def test_sources_are_projected_once_and_without_padding(models, monkeypatch):
    ours, made, counts = models[0], [], []
    make = encoder_decoder_generating.decoder_of
    monkeypatch.setattr(encoder_decoder_generating, "decoder_of", lambda *given: made.append(make(*given)) or made[-1])
    key = ours.decoder.bert.encoder.layer[0].crossattention.self.key
    project = type(key).forward

    def counted(self, x):
        if self is key:
            counts.append(len(x))
        return project(self, x)

    monkeypatch.setattr(type(key), "forward", counted)
    expected = ours.generate(**BATCH, max_new_tokens=6, num_beams=2)
    assert isinstance(made[0], PackedDecoder)
    assert counts == [int(MASK.sum())]
    packed = bertie.Packed.from_lists([row[row != 0].tolist() for row in IDS])
    states = ours.encoder(**BATCH)
    again = [
        ours.generate(packed, max_new_tokens=6, num_beams=2),
        ours.generate(encoder_outputs=states, attention_mask=MASK, max_new_tokens=6, num_beams=2),
    ]
    assert packed.lengths == (5, 3, 2)
    assert torch.equal(again[1], expected)
    assert torch.equal(again[0][:2], expected[:2])  # the third text starts differently


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_training_decreases_the_loss_with_checkpointing():
    torch.manual_seed(0)
    halves = bertie.BertConfig(**ENCODER), bertie.BertConfig(**DECODER)
    model = bertie.EncoderDecoderModel(bertie.EncoderDecoderConfig.from_encoder_decoder_configs(*halves, **TOKENS))
    model.gradient_checkpointing_enable()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(**BATCH, labels=LABELS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4
    model.eval()
    found = model.generate(**BATCH, max_new_tokens=4)
    assert found[0].tolist() == [2, 8, 2, 11, 3]


def begun(texts):
    """Return the cache of a generation."""
    more = {"max_new_tokens": 2, "return_dict_in_generate": True}
    return pair()[0].generate(IDS[:texts], attention_mask=MASK[:texts], **more).past_key_values


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bertie.EncoderDecoderModel(), "give a config, or both"),
        (lambda: bertie.EncoderDecoderModel(encoder=pair()[0].encoder), "give a config, or both"),
        (lambda: bertie.EncoderDecoderModel(decoder=pair()[0].decoder), "give a config, or both"),
        (lambda: bertie.EncoderDecoderModel(bertie.BertConfig(**ENCODER)), "made from a bertie.EncoderDecoderConfig"),
        (lambda: bertie.BertModel(pair()[0].config), "is made from a bertie.BertConfig"),
        (lambda: bertie.EncoderDecoderConfig(bertie.BertConfig(**ENCODER), None), "decoder is None"),
        (
            lambda: bertie.EncoderDecoderConfig(*[bertie.BertConfig(**ENCODER)] * 2),
            "is_decoder and add_cross_attention",
        ),
        (lambda: bertie.EncoderDecoderConfig.from_dict({"model_type": "bart"}), "model_type is 'bart'"),
        (lambda: pair()[0].resize_token_embeddings(60), "has two vocabularies"),
        (lambda: pair()[0].generate(IDS, decoder_input_ids=TARGETS[:2]), "for 3 sources give"),
        (lambda: pair()[0].generate(IDS, decoder_start_token_id=[1, 2]), "2 tokens for 3 sources"),
        (lambda: pair()[0].generate(IDS, max_new_tokens=40), "beyond the model's positions"),
        (lambda: pair()[0].generate(IDS[:, :0]), "Source 0 has no tokens"),
        (
            lambda: pair()[0].generate(IDS, attention_mask=MASK * torch.tensor([[1], [0], [1]])),
            "Source 1 has no tokens",
        ),
        (lambda: pair()[0].generate(IDS[:2], past_key_values=begun(3)), "holds 3 texts, but this call has 2"),
        (lambda: pair()[0].generate(IDS, num_beams=2, num_return_sequences=3), "is 3, but num_beams is 2"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(bertie.BertieError, match=message):
        make()


def test_a_half_of_another_kind_is_refused(tmp_path):
    pair()[0].save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    stated = json.loads(path.read_text())
    stated["decoder"]["model_type"] = "gpt2"
    path.write_text(json.dumps(stated))
    with pytest.raises(bertie.ConfigError, match="model_type is 'gpt2'"):
        bertie.EncoderDecoderModel.from_pretrained(tmp_path)
