"""``deterministic=True``: a text's vector is bitwise the same in any batch."""

import random

import numpy as np
import pytest

import bertie

TEXTS = ["A cat.", "The ship lay at anchor in a small bay, and nobody was on deck.", "Silver", "He laughed. " * 9] * 9


@pytest.mark.parametrize("batch_tokens", [40, 200, None])
def test_vectors_do_not_depend_on_the_batch(batch_tokens: int | None) -> None:
    embed = bertie.pipeline("embed", deterministic=True, device="cpu", batch_tokens=batch_tokens)
    texts = [f"{text} {number}" for number, text in enumerate(TEXTS)]
    together = embed(texts)
    order = random.Random(0).sample(range(len(texts)), len(texts))
    assert np.array_equal(embed([texts[index] for index in order]), together[order])
    for index in (0, 1, 3):
        assert np.array_equal(embed(texts[index]), together[index])


def test_refused_if_it_cannot_be_guaranteed() -> None:
    with pytest.raises(bertie.InputError, match="cannot be kept: encoder.layer.0.attention.self.query has weights"):
        bertie.pipeline("embed", deterministic=True, device="cpu", dtype="float64")
