"""``generate`` finds the reference's tokens: its options × batch sizes × kinds of cache, greedily and with beams."""

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
    """A processor as people write them."""

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
    "bad words": {"bad_words_ids": [[8], [3, 5], [5, 9, 3], [24]], **ENDS},
    "bias": {"sequence_bias": [[[12], 3.0], [[12, 6], -5.0], [[4, 12, 6], 9.5]]},
    "forced end": {"forced_eos_token_id": 13, **ENDS},
    "suppressed": {"suppress_tokens": [5, 6, 7, 8, 9], "begin_suppress_tokens": [10, 11, 12]},
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
CACHES = {"a cache": {}, "no cache": {"use_cache": False}}


def both(options, rows, models=None, **more):
    """Return what ours and the reference's generate, which is told of criteria in its own class."""
    found = []
    for model, kinds in zip(models or pair(), (bertie, transformers), strict=True):
        given = {"max_new_tokens": 9, "bos_token_id": 1, **options, **more}
        if "stopping_criteria" in given and kinds is transformers:
            given["stopping_criteria"] = transformers.StoppingCriteriaList(given["stopping_criteria"])
        if "logits_processor" in given and kinds is transformers:
            given["logits_processor"] = transformers.LogitsProcessorList(given["logits_processor"])
        found.append(
            model.generate(**prompts(rows), **{name: value for name, value in given.items() if value is not None})
        )
    return found


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("options", OPTIONS)
def test_greedy(options, rows, cache):
    ours, theirs = both(OPTIONS[options], rows, **CACHES[cache])
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("beams", BEAMS)
@pytest.mark.parametrize("options", OPTIONS)
def test_beams(options, beams):
    ours, theirs = both(OPTIONS[options], 3, **BEAMS[beams])
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("beams", BEAMS)
@pytest.mark.parametrize("more", [{"rows": 1}, {"rows": 3, "use_cache": False}])
def test_beams_of_one_prompt_and_without_a_cache(beams, more):
    ours, theirs = both(ENDS, **more, **BEAMS[beams])
    assert ours.tolist() == theirs.tolist()
