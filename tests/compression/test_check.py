"""A small model is accepted if it is similar enough, predicts alike and is not slower."""

import math
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import bertie
from bertie.compression import check
from bertie.compression.check import Comparison, _agreement, _predictions, compare, held_out, split_texts
from bertie.errors import BertieError, InputError
from bertie.packing import Packed
from bertie.tasks.features import Features

FOUND = Comparison(10, 0.5, -0.2, 0.95, rate=2.0, small_rate=2.0, size=2, small_size=1)


TEXTS = Features.from_lists([[2, 9, 3], [2, 3]], [[0, 0, 0], [0, 0]], [0, 0], [False, False])
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def choosing(label: int, **fields: Any) -> bertie.BertForSequenceClassification:
    """Return a classifier that gives each text one label, of two."""
    model = bertie.BertForSequenceClassification(bertie.BertConfig(vocab_size=20, **SMALL, **fields)).eval()
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias[:] = torch.arange(model.num_labels) == label
    return model


def test_vectors_speed_and_size_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "time", SimpleNamespace(perf_counter=count(0, 4).__next__))  # a round takes 4 seconds
    model = bertie.BertModel(bertie.BertConfig(vocab_size=20, **SMALL)).eval()
    found = compare(model, model, TEXTS, rounds=1)
    assert min(found.cosine_mean, found.cosine_worst) > 0.9999
    assert (found.texts, found.rate, found.small_rate, found.agreement) == (2, 0.5, 0.5, None)
    assert found.size == found.small_size == 4 * model.num_parameters()


def test_predictions_are_compared() -> None:
    assert _agreement(choosing(0), choosing(0), TEXTS) == 1.0
    assert _agreement(choosing(0), choosing(1), TEXTS) == 0.0
    assert _agreement(choosing(0, problem_type="regression"), choosing(1), TEXTS) is None
    assert _agreement(choosing(0, num_labels=1), choosing(0, num_labels=1), TEXTS) is None


@pytest.mark.parametrize(
    ("scores", "name", "problem_type", "chosen"),
    [
        ([[0.0, 2.0], [3.0, 0.0]], "logits", None, [1, 0]),
        ([[0.0, 0.5], [-1.0, 2.0]], "logits", "multi_label_classification", [[False, True], [False, True]]),
        ([0.0, 5.0, 1.0, 2.0, 1.0], "start_logits", None, [1, 0]),  # a token of each text
    ],
)
def test_predictions_of_outputs(scores: list[Any], name: str, problem_type: str | None, chosen: list[Any]) -> None:
    packed = Packed.from_lists([[2, 9, 3], [2, 3]])
    assert _predictions(torch.tensor(scores), name, packed, problem_type).tolist() == chosen


@pytest.mark.parametrize(("number", "held"), [(2, [1]), (4, [3]), (5, [4]), (12, [4, 9])])
def test_every_fifth_text_is_held_out(number: int, held: list[int]) -> None:
    learned, compared = held_out(list(range(number)), 5)
    assert compared == held
    assert sorted([*learned, *compared]) == list(range(number))


def test_texts_to_compare_on_are_given_or_held_out() -> None:
    assert split_texts(list("abcdef"), None, 5) == (["a", "b", "c", "d", "f"], ["e"])
    assert split_texts(["a"], ["b"], 5) == (["a"], ["b"])
    for texts, given, name in (([], ["b"], "texts"), (["a"], [], "check")):
        with pytest.raises(InputError, match=rf"^{name} has no text\.$"):
            split_texts(texts, given, 5)


@pytest.mark.parametrize(
    ("found", "least"),
    [
        (FOUND, {}),
        (FOUND, {"min_worst": -0.2, "min_mean": 0.9, "min_agreement": 0.95}),  # only predictions count, not the mean
        (replace(FOUND, agreement=None), {"min_mean": 0.5}),
    ],
)
def test_good_enough_models_are_accepted(found: Comparison, least: dict[str, float]) -> None:
    found.refuse(False, **least)


@pytest.mark.parametrize(
    ("found", "least", "says"),
    [
        (FOUND, {"min_worst": 0.9}, r"The worst text's cosine is -0\.2000, below 0\.9"),
        (replace(FOUND, cosine_worst=math.nan), {}, r"The worst text's cosine is nan, below -1\.0"),
        (FOUND, {"min_agreement": 0.96}, r"Only 95\.00% of the predictions are equal, below 96\.00%"),
        (replace(FOUND, agreement=None), {"min_mean": 0.9}, r"The mean cosine of the texts is 0\.5000, below 0\.9"),
        (replace(FOUND, small_rate=1.98), {}, r"It would be slower on this machine \(0\.99 x\)"),
    ],
)
def test_bad_models_are_refused_unless_forced(found: Comparison, least: dict[str, float], says: str) -> None:
    with pytest.raises(BertieError, match=rf"^{says}\. Nothing is written; force=True writes it anyway\.$"):
        found.refuse(False, **least)
    found.refuse(True, **least)


def test_lines_of_a_comparison() -> None:
    found = replace(FOUND, cosine_worst=0.25, small_rate=5.0, size=3 * 2**20, small_size=2**20)
    assert found.lines() == [
        "texts        10",
        "cosine       0.5000 on average, 0.2500 for the worst text",
        "predictions  95.00% equal",
        "texts/s      2.0 before, 5.0 now (2.50 x)",
        "size         3.0 MiB before, 1.0 MiB now",
    ]
