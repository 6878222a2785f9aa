"""Assisted decoding: greedy texts equal the reference's, sampled ones keep their distribution."""

import copy
import functools

import pytest
import torch
import transformers
from scipy.stats import chi2_contingency
from tests.generation.test_generate import IDS, OPTIONS, SIZES, given, pair, prompts

import bertie


@functools.cache
def assistants() -> dict[str, tuple[bertie.BertLMHeadModel, transformers.BertLMHeadModel]]:
    """Models that agree with the first of `pair` always, often and rarely."""
    found = {}
    for name, noise in (("itself", 0.0), ("alike", 0.1), ("another", 1.0)):
        torch.manual_seed(1)
        both = copy.deepcopy(pair())
        with torch.no_grad():
            for parameter in both[1].parameters():
                parameter.add_(torch.randn_like(parameter) * noise)
        both[0].load_state_dict(both[1].state_dict())
        found[name] = both
    return found


@pytest.mark.parametrize("assistant", ["itself", "alike", "another"])
@pytest.mark.parametrize("options", OPTIONS)
def test_an_assistant_changes_no_token(options, assistant):
    model, reference = pair()
    own, other = given({"max_new_tokens": 14, **OPTIONS[options]})
    found = model.generate(**prompts(1), **own, assistant_model=assistants()[assistant][0])
    assert found.tolist() == reference.generate(**prompts(1), **other).tolist()


@pytest.mark.parametrize("options", ["plain", "end", "ngrams", "min_length"])
def test_the_references_assistant_agrees(options):
    own, other = given({"max_new_tokens": 14, **OPTIONS[options]})
    ours, theirs = assistants()["alike"]
    expected = pair()[1].generate(**prompts(1), **other, assistant_model=theirs)
    assert pair()[0].generate(**prompts(1), **own, assistant_model=ours).tolist() == expected.tolist()


@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("options", ["plain", "end", "bad words", "repetition", "criterion"])
def test_prompt_lookup_changes_no_token(options, tokens):
    model, reference = pair()
    own, other = given({"max_new_tokens": 14, **OPTIONS[options]})
    asked = {"prompt_lookup_num_tokens": tokens, "max_matching_ngram_size": 3}
    text = torch.tensor([[5, 9, 3, 7, 5, 9, 3, 7, 8, 5]])
    found = model.generate(text, **own, **asked)
    assert found.tolist() == reference.generate(text, **other).tolist()
    if options in ("plain", "end"):
        assert found.tolist() == reference.generate(text, **other, **asked).tolist()


def steps_of(model, monkeypatch):
    """Return a list that collects the number of tokens read at each step."""
    counts = []
    forward = type(model).forward

    def counted(self, input_ids=None, *args, **kwargs):
        if self is model:
            counts.append(input_ids.num_tokens)
        return forward(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(type(model), "forward", counted)
    return counts


def test_a_correct_draft_saves_steps(monkeypatch):
    model = pair()[0]
    counts = steps_of(model, monkeypatch)
    more = {"max_new_tokens": 12, "num_assistant_tokens": 5, "assistant_confidence_threshold": 0.0}
    model.generate(IDS[:1], **more, assistant_model=assistants()["itself"][0])
    assert counts == [6, 6, 5]  # the prompt; the newest token and 5 drafted; the newest token and the 4 left


def test_repetitions_are_read_in_one_step(monkeypatch):
    """Prompt lookup helps a model that generates 7 8 9 7 8 9 …"""
    model = copy.deepcopy(pair()[0])
    counts = steps_of(model, monkeypatch)
    cycle = {7: 8, 8: 9, 9: 7}

    def next_of_cycle(ids, scores):
        return scores.index_fill(1, torch.tensor([cycle[int(ids[0, -1])]]), 1e4)

    model.generate(
        torch.tensor([[7, 8, 9, 7]]), max_new_tokens=11, prompt_lookup_num_tokens=3, logits_processor=[next_of_cycle]
    )
    assert counts == [4, 4, 4, 2]


@pytest.mark.parametrize("drafts", [{"assistant_model": "alike"}, {"prompt_lookup_num_tokens": 3}])
def test_the_cache_holds_what_a_search_without_drafts_holds(drafts):
    model = pair()[0]
    drafts = {name: assistants()[value][0] if name == "assistant_model" else value for name, value in drafts.items()}
    asked = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    for ends in ({}, {"eos_token_id": 24}):
        more = {"max_new_tokens": 9, **asked, **ends}
        found, expected = model.generate(IDS[:1], **more, **drafts), model.generate(IDS[:1], **more)
        assert type(found) is type(expected)
        assert torch.equal(found.sequences, expected.sequences)
        assert found.past_key_values.lengths == expected.past_key_values.lengths
        for name in ("scores", "logits"):
            torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=0)
        ours, theirs = (list(each.past_key_values) for each in (found, expected))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("padding", [[0, 0], []])
def test_padding_types_and_other_caches(padding):
    model, reference = pair()
    ids = torch.tensor([padding + IDS[0].tolist()])
    inputs = {"attention_mask": (ids != 0).long(), "token_type_ids": torch.tensor([[0] * (ids.shape[1] - 1) + [1]])}
    expected = reference.generate(ids, **inputs, max_new_tokens=10, bos_token_id=1)
    helper = assistants()["alike"][0]
    for cache in (None, bertie.Cache(), transformers.DynamicCache()):
        found = model.generate(ids, **inputs, max_new_tokens=10, past_key_values=cache, assistant_model=helper)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("drafts", [{"assistant_model": "alike"}, {"assistant_model": "another"}, {"lookup": 2}])
def test_sampling_with_drafts_keeps_the_distribution(drafts):
    """A chi-square test of three tokens sampled after one prompt, all covered by a draft."""
    model = pair()[0]
    text = torch.tensor([[5, 9, 3, 5, 9]])
    more = {
        "do_sample": True,
        "temperature": 1.5,
        "top_k": 3,
        "max_new_tokens": 3,
        "assistant_confidence_threshold": 0.0,
    }
    drafted = {"prompt_lookup_num_tokens": 2} if "lookup" in drafts else {}
    if "assistant_model" in drafts:
        drafted = {"assistant_model": assistants()[drafts["assistant_model"]][0]}
    generator = torch.Generator().manual_seed(4)
    found = torch.cat([model.generate(text, **more, **drafted, generator=generator) for _ in range(400)])
    expected = model.generate(text, **more, num_return_sequences=4000, generator=generator)
    codes = [(ids[:, -3] * 40 + ids[:, -2]) * 40 + ids[:, -1] for ids in (found, expected)]
    table = torch.stack([torch.bincount(code, minlength=40**3) for code in codes])
    often = table[:, table.sum(0) >= 60]
    rest = (table.sum(1) - often.sum(1))[:, None] + 1
    assert often.shape[1] >= 5
    assert chi2_contingency(torch.cat([often, rest], dim=1).numpy()).pvalue > 1e-3


def test_an_end_and_a_streamer(capsys):
    model, words = pair()[0], []

    class Streamer:
        def put(self, value):
            words.extend(value.reshape(-1).tolist())

        def end(self):
            words.append("end")

    more = {"max_new_tokens": 12, "eos_token_id": 24}
    found = model.generate(IDS[:1], **more, streamer=Streamer(), assistant_model=assistants()["itself"][0])
    assert words == [*found[0].tolist(), "end"]


def test_an_assistant_with_fewer_positions():
    model = pair()[0]
    torch.manual_seed(3)
    short = bertie.BertLMHeadModel(bertie.BertConfig(**SIZES | {"max_position_embeddings": 10})).eval()
    for text in (IDS[:1], IDS[:1].repeat(1, 2)):
        expected = model.generate(text, max_new_tokens=12)
        assert torch.equal(model.generate(text, max_new_tokens=12, assistant_model=short), expected)


@functools.cache
def summarisers():
    torch.manual_seed(0)
    base = {name: value for name, value in SIZES.items() if name != "is_decoder"}
    encoder, decoder = (
        transformers.BertConfig(**base, is_decoder=own, add_cross_attention=own) for own in (False, True)
    )
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, decoder, decoder_start_token_id=1, pad_token_id=0
    )
    reference = transformers.EncoderDecoderModel(config).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    ours = bertie.EncoderDecoderModel(bertie.EncoderDecoderConfig.from_dict(config.to_dict())).eval()
    ours.load_state_dict(reference.state_dict())
    helper = copy.deepcopy(ours)
    with torch.no_grad():
        for parameter in helper.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return ours, reference, helper


@pytest.mark.parametrize("options", [{}, {"eos_token_id": 24}, {"no_repeat_ngram_size": 2}])
def test_a_pair_of_encoder_and_decoder(options):
    ours, reference, helper = summarisers()
    source = {"input_ids": IDS[1:2], "attention_mask": (IDS[1:2] != 0).long()}
    more = {"max_new_tokens": 12, **options}
    # the reference's own cross-attention cache is faulty (decision 18)
    expected = reference.generate(**source, **more, use_cache=False)
    for drafts in (
        {"assistant_model": helper},
        {"assistant_model": assistants()["alike"][0]},
        {"prompt_lookup_num_tokens": 3},
    ):
        assert torch.equal(ours.generate(**source, **more, **drafts), expected)


BAD = {
    "several texts": (lambda: {**prompts(3)}, "one text at a time, but 3 are requested"),
    "several of one": (lambda: {"do_sample": True, "num_return_sequences": 2}, "but 2 are requested"),
    "beams": (lambda: {"num_beams": 2}, "num_beams is 2; leave out one"),
    "no cache": (lambda: {"use_cache": False}, "removed from the cache, but use_cache is False"),
    "a static cache": (
        lambda: {"past_key_values": transformers.StaticCache(pair()[1].config, max_cache_len=30)},
        "a StaticCache cannot be cropped",
    ),
    "attentions": (
        lambda: {"return_dict_in_generate": True, "output_attentions": True},
        "leave out output_attentions and output_hidden_states",
    ),
    "both": (lambda: {"prompt_lookup_num_tokens": 3}, "both draft tokens; give one"),
    "another library's": (lambda: {"assistant_model": pair()[1]}, "assistant_model is a BertLMHeadModel; it must be"),
    "no model that generates": (
        lambda: {"assistant_model": bertie.BertForMaskedLM(bertie.BertConfig(**SIZES))},
        "a BertForMaskedLM; it must be one of bertie's models that generate",
    ),
    "another vocabulary": (
        lambda: {"assistant_model": bertie.BertLMHeadModel(bertie.BertConfig(**SIZES | {"vocab_size": 41}))},
        "has 41 tokens and the model's 40",
    ),
    "an encoder": (
        lambda: {"assistant_model": bertie.BertLMHeadModel(bertie.BertConfig(**SIZES | {"is_decoder": False}))},
        "assistant_model is not a decoder",
    ),
    "a cache of another batch": (
        lambda: {"past_key_values": pair()[0](IDS[:2], past_key_values=bertie.Cache(), use_cache=True).past_key_values},
        "holds 2 texts, but this call has 1",
    ),
    "a pair for a decoder": (
        lambda: {"assistant_model": summarisers()[2]},
        "is an encoder-decoder, but the model is not",
    ),
    "an assistant of another vocabulary's tokens": (
        lambda: {"assistant_tokenizer": "one"},
        "takes no argument 'assistant_tokenizer'",
    ),
    "vectors": (
        lambda: {"input_ids": None, "inputs_embeds": torch.zeros(1, 6, 16)},
        "reads whole texts as ids",
    ),
    "no words": (lambda: {"num_assistant_tokens": 0}, "num_assistant_tokens is 0; allowed: an integer of at least 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_drafted_for_is_refused(case):
    make, message = BAD[case]
    asked = {**prompts(1), "max_new_tokens": 3, "assistant_model": assistants()["itself"][0], **make()}
    with torch.no_grad(), pytest.raises(bertie.BertieError, match=message):
        pair()[0].generate(**asked)


def test_an_assistant_reads_the_sources_itself():
    ours, _, helper = summarisers()
    read = ours.encoder(IDS[:1], return_dict=True)
    with pytest.raises(bertie.InputError, match="give them with encoder_outputs"):
        ours.generate(encoder_outputs=read, max_new_tokens=3, assistant_model=helper)


@pytest.mark.parametrize("options", [{}, {"do_sample": True}])
def test_nan_scores_of_model_and_assistant(options, caplog):
    broken, helper = copy.deepcopy(pair()[0]), assistants()["alike"][0]
    broken.cls.predictions.bias.data[3] = torch.nan
    with pytest.raises(bertie.BertieError, match="scores for text 0 hold 1 NaN"):
        broken.generate(**prompts(1), max_new_tokens=3, assistant_model=helper, **options)
    if not options:
        found = pair()[0].generate(**prompts(1), max_new_tokens=3, assistant_model=broken)
        assert torch.equal(found, pair()[0].generate(**prompts(1), max_new_tokens=3))
        assert "the scores of assistant_model hold NaN" in caplog.text


def test_a_criterion_that_is_never_met_is_reported(caplog):
    more = {"max_new_tokens": 5, "stopping_criteria": [lambda *_: False]}
    assert pair()[0].generate(**prompts(1), **more, assistant_model=assistants()["alike"][0]).shape == (1, 11)
    assert "no stopping criterion was met within max_length=11" in caplog.text
