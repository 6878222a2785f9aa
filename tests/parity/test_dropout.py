"""Dropout stands where the reference has it: equal mean and spread of every output over thousands of draws."""

import pytest
import torch
from harness import pair

PLACES = {
    "attention": ("BertModel", {"attention_probs_dropout_prob": 0.4}),
    "hidden": ("BertModel", {"hidden_dropout_prob": 0.3}),
    "classifier": ("BertForSequenceClassification", {"classifier_dropout": 0.5, "num_labels": 3}),
    "token classifier": ("BertForTokenClassification", {"classifier_dropout": 0.5, "num_labels": 3}),
}
DRAWS = 3000


def draws(model: torch.nn.Module, **asked: bool) -> torch.Tensor:
    """Return one text's first output under ``DRAWS`` independent dropout masks."""
    torch.manual_seed(7)
    ids = torch.tensor([[5, 17, 29, 41]]).expand(DRAWS, -1)
    with torch.no_grad():
        return model(input_ids=ids, **asked)[0].double()


@pytest.mark.parametrize("backend", ["grouped", "dense"])
@pytest.mark.parametrize("place", PLACES)
def test_mean_and_spread_are_those_of_the_reference(place: str, backend: str) -> None:
    name, config = PLACES[place]
    ours, reference = pair(name, {"num_hidden_layers": 1, **config}, train=True)
    got = draws(ours, output_attentions=backend == "dense")
    wanted = draws(reference)
    assert got.std(0).min() > 1e-4, "dropout is on"
    error = (got.var(0) / DRAWS + wanted.var(0) / DRAWS).sqrt()
    assert ((got.mean(0) - wanted.mean(0)).abs() / error).max() < 5
    # the standard error of a standard deviation is about sd / sqrt(2n); heavy tails double it
    assert ((got.std(0) / wanted.std(0)).log().abs()).max() < 5 * 2 / (2 * DRAWS) ** 0.5


def test_eval_has_no_dropout() -> None:
    ours, _ = pair("BertModel", {"attention_probs_dropout_prob": 0.4, "hidden_dropout_prob": 0.3})
    assert draws(ours).std(0).max() < 1e-6
