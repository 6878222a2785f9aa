"""``generate`` finds the reference's tokens: options × batch sizes × kinds of cache, greedy, sampled, with beams."""

import functools

import pytest
import torch
import transformers

import bertie

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "is_decoder": True,
}
SPACE = 30  # of static caches
IDS = torch.tensor([[5, 9, 3, 7, 8, 11], [0, 0, 0, 4, 12, 6], [0, 21, 4, 4, 30, 5]])


@functools.cache
def pair(**more: bool) -> tuple[bertie.BertLMHeadModel, transformers.BertLMHeadModel]:
    torch.manual_seed(0)
    reference = transformers.BertLMHeadModel(transformers.BertConfig(**SIZES, **more)).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    ours = bertie.BertLMHeadModel(bertie.BertConfig(**SIZES, **more)).eval()
    ours.load_state_dict(reference.state_dict())
    return ours, reference


def prompts(rows: int) -> dict[str, torch.Tensor]:
    """Left-padded prompts of unequal lengths."""
    return {"input_ids": IDS[:rows], "attention_mask": (IDS[:rows] != 0).long()}


class Shifted:
    """A user-defined processor."""

    def __call__(self, input_ids, scores):
        return scores + torch.arange(scores.shape[-1]) % (input_ids.shape[1] % 5 + 2)


def ends_at_six(input_ids, scores, **_):
    return input_ids[:, -1] == 6


ENDS = {"eos_token_id": [24, 9], "pad_token_id": 0}  # some texts end early, others not
OPTIONS = {
    "plain": {},
    "end": ENDS,
    "end that pads": {"eos_token_id": 29, "pad_token_id": 31},
    "max_length": {"max_length": 11, "max_new_tokens": None, **ENDS},
    "min_length": {"min_length": 10, **ENDS},
    "min_new_tokens": {"min_new_tokens": 5, **ENDS},
    "repetition": {"repetition_penalty": 1.7},
    "ngrams": {"no_repeat_ngram_size": 2, "repetition_penalty": 0.6},
    "bad words": {"bad_words_ids": [[8], [15, 6], [5, 5, 5], [24]], **ENDS},
    "bias": {"sequence_bias": [[[12], 3.0], [[12, 6], -5.0], [[4, 12, 6], 9.5]]},
    "forced begin": {"forced_bos_token_id": 7},  # after one token, which these prompts have passed
    "forced end": {"forced_eos_token_id": 13, **ENDS},
    "suppressed": {"suppress_tokens": [5, 6, 7, 8, 9], "begin_suppress_tokens": [15, 24]},
    "likelier end": {"exponential_decay_length_penalty": (2, 1.5), **ENDS},
    "allowed": {"prefix_allowed_tokens_fn": lambda text, ids: [(int(ids[-1]) * 3 + text + k) % 40 for k in range(6)]},
    "renormalized": {"renormalize_logits": True, "repetition_penalty": 1.3},
    "processor": {"logits_processor": [Shifted()], **ENDS},
    "criterion": {"stopping_criteria": [ends_at_six], **ENDS},
    "valid": {"remove_invalid_values": True},
}
BEAMS = {
    "": {"num_beams": 3},
    "all": {"num_beams": 3, "num_return_sequences": 3},
    "early": {"num_beams": 4, "early_stopping": True, "num_return_sequences": 2},
    "never": {"num_beams": 2, "early_stopping": "never"},
    "long": {"num_beams": 3, "length_penalty": 2.0, "early_stopping": "never"},
    "short": {"num_beams": 3, "length_penalty": -1.0},
}
CACHES = {
    "ours": dict,
    "none": lambda: {"use_cache": False},
    "theirs": lambda: {"past_key_values": transformers.DynamicCache()},
    "theirs, static": lambda: {
        "past_key_values": transformers.StaticCache(transformers.BertConfig(**SIZES), max_cache_len=SPACE)
    },
}
# prompts and the cache that ours gets
GRID = [(1, "ours"), (3, "ours"), (3, "none"), (3, "theirs"), (1, "theirs, static"), (3, "theirs, static")]


def given(options, **more):
    """Return options for our and for the reference's ``generate``, which takes lists in its own classes."""
    ours = {"max_new_tokens": 9, "bos_token_id": 1, **options, **more}
    ours = {name: value for name, value in ours.items() if value is not None}
    kinds = {
        "stopping_criteria": transformers.StoppingCriteriaList,
        "logits_processor": transformers.LogitsProcessorList,
    }
    return ours, ours | {name: kind(ours[name]) for name, kind in kinds.items() if name in ours}


@functools.cache
def expected(options, rows, beams=None, drawn=False):
    """Return what the reference generates."""
    torch.manual_seed(5)
    theirs = given(OPTIONS[options] | ({} if beams is None else BEAMS[beams]), do_sample=drawn)[1]
    return pair()[1].generate(**prompts(rows), **theirs).tolist()


def generated(options, rows, beams=None, drawn=False, cache="ours"):
    """Return what ours generates."""
    pair()  # consumes the random numbers of its weights
    torch.manual_seed(5)
    ours = given(OPTIONS[options] | ({} if beams is None else BEAMS[beams]), do_sample=drawn)[0]
    return pair()[0].generate(**prompts(rows), **ours, **CACHES[cache]()).tolist()


@pytest.mark.parametrize("options", sorted(OPTIONS.keys() - {"plain", "end", "forced begin", "valid"}))
def test_options_make_a_difference(options):
    """Otherwise the tests below would not notice that they are ignored."""
    assert expected(options, 3) != expected("end" if ENDS.items() <= OPTIONS[options].items() else "plain", 3)


@pytest.mark.parametrize(("rows", "cache"), GRID)
@pytest.mark.parametrize("options", OPTIONS)
def test_greedy(options, rows, cache):
    assert generated(options, rows, cache=cache) == expected(options, rows)


@pytest.mark.parametrize("beams", BEAMS)
@pytest.mark.parametrize("options", OPTIONS)
def test_beams(options, beams):
    assert generated(options, 3, beams) == expected(options, 3, beams)


@pytest.mark.parametrize(("rows", "cache"), GRID)
@pytest.mark.parametrize("beams", BEAMS)
def test_beams_of_every_cache(beams, rows, cache):
    assert generated("end", rows, beams, cache=cache) == expected("end", rows, beams)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("beams", [None, "all"])
def test_a_seed_samples_the_references_tokens_under_every_option(options, beams):
    assert generated(options, 3, beams, drawn=True) == expected(options, 3, beams, drawn=True)


@pytest.mark.parametrize(("rows", "cache"), GRID)
@pytest.mark.parametrize("beams", [None, "all", "early", "short"])
def test_a_seed_samples_the_references_tokens_with_every_cache(beams, rows, cache):
    assert generated("end", rows, beams, drawn=True, cache=cache) == expected("end", rows, beams, drawn=True)
