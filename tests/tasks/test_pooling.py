"""Pooling over segments of packed tokens equals pooling text by text."""

import pytest
import torch

from bertie.tasks.pooling import MODES, pool

LENGTHS = (3, 5, 1, 5)
HIDDEN = torch.randn(sum(LENGTHS), 6, generator=torch.Generator().manual_seed(0))
WEIGHTS = {length: torch.arange(1, length + 1.0)[:, None] for length in LENGTHS}
ALONE = {
    "cls": lambda text: text[0],
    "max": lambda text: text.max(0).values,
    "mean": lambda text: text.mean(0),
    "mean_sqrt_len_tokens": lambda text: text.sum(0) / len(text) ** 0.5,
    "weightedmean": lambda text: (text * WEIGHTS[len(text)]).sum(0) / WEIGHTS[len(text)].sum(),
    "lasttoken": lambda text: text[-1],
}


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_equals_pooling_text_by_text(mode: str) -> None:
    expected = torch.stack([ALONE[mode](text) for text in HIDDEN.split(LENGTHS)])
    torch.testing.assert_close(pool(HIDDEN, LENGTHS, [mode]), expected)


def test_several_modes_are_concatenated_in_order() -> None:
    both = pool(HIDDEN, LENGTHS, ["max", "cls"])
    torch.testing.assert_close(both, torch.cat([pool(HIDDEN, LENGTHS, ["max"]), pool(HIDDEN, LENGTHS, ["cls"])], dim=1))


def test_skipped_tokens_are_excluded() -> None:
    texts = HIDDEN.split(LENGTHS)
    vectors = pool(HIDDEN, LENGTHS, ["mean"], skip=2)
    torch.testing.assert_close(vectors[1], texts[1][2:].mean(0))
    assert torch.equal(vectors[2], torch.zeros(6))  # none of its tokens is left


def test_half_precision_is_summed_in_float32() -> None:
    hidden = torch.full((5000, 2), 30.0, dtype=torch.float16)  # the sum is beyond float16
    assert torch.equal(pool(hidden, [5000], ["mean"]), torch.full((1, 2), 30.0))
