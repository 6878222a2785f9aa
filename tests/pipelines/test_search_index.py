"""SearchIndex: the best texts by cosine, in order, whatever the model's vectors are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bertie
from bertie.errors import InputError, InputTypeError

TEXTS = ["The cat sleeps on the sofa.", "Stocks fell on Monday.", "A kitten naps on the couch.", "It rains in Spain."]


def test_similar_texts_are_found_first() -> None:
    embed = bertie.pipeline("embed", device="cpu")
    index = bertie.SearchIndex(TEXTS, embed)
    hits = index.search("a pet is asleep", top_k=2)
    assert {hit.number for hit in hits} == {0, 2}
    assert hits[0].score >= hits[1].score
    assert hits[0].text == TEXTS[hits[0].number]
    weather, money = index.search(["bad weather", "the market lost value"], top_k=1)
    assert (weather[0].number, money[0].number) == (3, 1)


def test_scores_are_cosines_for_any_model(tiny: Callable[..., Path]) -> None:
    embed = bertie.pipeline("embed", tiny(), device="cpu")  # its vectors are not normalized
    index = bertie.SearchIndex(TEXTS, embed)
    question = embed("rain")
    expected = [float(vector @ question / np.linalg.norm(vector) / np.linalg.norm(question)) for vector in embed(TEXTS)]
    hits = index.search("rain", top_k=10)
    assert [hit.number for hit in hits] == np.argsort(-np.array(expected)).tolist()
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected, reverse=True), abs=1e-6)


def test_edge_cases(tiny: Callable[..., Path]) -> None:
    embed = bertie.pipeline("embed", tiny(), device="cpu")
    assert bertie.SearchIndex([], embed).search("anything") == []
    same = bertie.SearchIndex(["a", "a", "a"], embed)
    assert [hit.number for hit in same.search("a", top_k=2)] == [0, 1]
    with pytest.raises(InputError, match="top_k is 0"):
        same.search("a", top_k=0)
    with pytest.raises(InputTypeError, match="make it with bertie.pipeline"):
        bertie.SearchIndex(["a"], "model")  # type: ignore[arg-type]
