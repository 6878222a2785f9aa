"""The key-value cache of beams: reordering keeps contents, and needs no more memory for longer texts."""

import tracemalloc

import numpy as np
import pytest

from bertie.engine.key_values import BLOCK, KeyValues

LAYERS, HEADS = 2, (3, 8)


def kept(tokens: int, beams: int) -> KeyValues:
    """Return a text of 5 tokens with ``tokens`` more in each of its beams."""
    made, draw = KeyValues(LAYERS, 1, HEADS), np.random.default_rng(0)
    for counts in ([5], [tokens] * beams):
        if len(counts) > 1:
            made.repeat(beams)
        growth = made.grow(np.array(counts))
        for layer in range(LAYERS):
            made.append(layer, *draw.standard_normal((2, sum(counts), *HEADS)).astype(np.float32), growth)
    return made


@pytest.mark.parametrize("tokens", [1, BLOCK, 3 * BLOCK + 7])
def test_reordering_moves_whole_beams(tokens: int) -> None:
    beams, texts = kept(tokens, 4), np.array([2, 1, 0, 2])
    before = beams._storage[:, :, :, : 5 + tokens].copy()
    beams.reorder(texts)
    np.testing.assert_array_equal(beams._storage[:, :, :, : 5 + tokens], before[:, :, texts])
    assert beams.lengths.tolist() == [5 + tokens] * 4


def test_reordering_needs_no_more_memory_for_longer_texts() -> None:
    peaks = []
    for tokens in (2 * BLOCK, 20 * BLOCK):
        beams = kept(tokens, 4)
        tracemalloc.start()
        beams.reorder(np.array([3, 2, 1, 0]))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 20 * BLOCK * 4 * 3 * 8 * 4
