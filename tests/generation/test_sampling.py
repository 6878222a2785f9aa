"""Sampling: the reference's tokens for the same seed, its distribution for any, and its filters."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from tests.generation.test_generate import ENDS, IDS, pair, prompts
from transformers.generation import logits_process as theirs

from bertie.generation import sampling_filters as ours

OPTIONS = {
    "plain": {"top_k": 0},
    "default": {},
    "temperature": {"temperature": 0.7, "top_k": 0},
    "top_k": {"top_k": 4},
    "top_p": {"top_p": 0.8, "top_k": 0},
    "min_p": {"min_p": 0.1},
    "typical": {"typical_p": 0.7},
    "epsilon": {"epsilon_cutoff": 0.02},
    "eta": {"eta_cutoff": 0.02},
    "several": {"temperature": 1.4, "top_k": 12, "top_p": 0.9, "num_return_sequences": 2},
    "beams": {"num_beams": 3, "top_k": 0},
    "beams, narrow": {"num_beams": 2, "top_p": 0.5, "num_return_sequences": 2},
}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_seed_samples_the_references_tokens(options, rows):
    found = []
    for model in pair():
        torch.manual_seed(5)
        given = {"do_sample": True, "bos_token_id": 1, "max_new_tokens": 9, **ENDS, **OPTIONS[options]}
        found.append(model.generate(**prompts(rows), **given).tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("options", ["several", "top_p"])
def test_samples_have_the_references_distribution(options):
    """A chi-square test of pairs of tokens sampled after one prompt with different seeds."""
    counts = []
    given = {**OPTIONS[options], "num_return_sequences": 3000, "max_new_tokens": 2, "do_sample": True}
    for number, model in enumerate(pair()):
        torch.manual_seed(number)
        words = model.generate(IDS[:1], **given)[:, -2:]
        counts.append(torch.bincount(words[:, 0] * 40 + words[:, 1], minlength=1600))
    table = torch.stack(counts)
    often = table[:, table.sum(0) >= 20]
    rest = (table.sum(1) - often.sum(1))[:, None] + 1
    assert often.shape[1] >= 10
    assert chi2_contingency(torch.cat([often, rest], dim=1).numpy()).pvalue > 1e-3


def test_a_given_generator():
    model = pair()[0]

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return model.generate(**prompts(2), do_sample=True, max_new_tokens=8, generator=generator).tolist()

    before = torch.random.get_rng_state()
    assert draw(3) == draw(3) != draw(4)
    assert torch.equal(torch.random.get_rng_state(), before)


FILTERS = [
    (ours.TopK, theirs.TopKLogitsWarper, st.integers(1, 12)),
    (ours.TopP, theirs.TopPLogitsWarper, st.floats(0.05, 1)),
    (ours.MinP, theirs.MinPLogitsWarper, st.floats(0, 1)),
    (ours.Typical, theirs.TypicalLogitsWarper, st.floats(0.05, 0.95)),
    (ours.Epsilon, theirs.EpsilonLogitsWarper, st.floats(0.01, 0.5)),
    (ours.Eta, theirs.EtaLogitsWarper, st.floats(0.01, 0.5)),
]


@pytest.mark.parametrize("number", range(len(FILTERS)), ids=lambda number: FILTERS[number][0].__name__)
@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_filter_keeps_what_the_references_keeps(number, data):
    mine, other, thresholds = FILTERS[number]
    threshold, least = data.draw(thresholds), data.draw(st.integers(1, 3))
    scores = torch.randn(2, 10, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99)))) * 3
    scores[0, : data.draw(st.integers(0, 5))] = -torch.inf
    expected = other(threshold, min_tokens_to_keep=least)(None, scores)
    assert torch.equal(mine(threshold, least)(None, scores), expected)


def test_sampling_options_without_sampling_are_reported(caplog):
    pair()[0].generate(**prompts(1), max_new_tokens=2, top_p=0.31)
    assert "top_p=0.31 has no effect without do_sample=True" in caplog.text
