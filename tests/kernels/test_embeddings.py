"""Embeddings in one call equal PyTorch's sum and LayerNorm, for any tables and ids."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import InputError
from bertie.kernels import library
from bertie.kernels.embeddings import PackedEmbeddings
from bertie.kernels.normalization import layer_norm

SETS = library.instruction_sets()
pytestmark = pytest.mark.skipif(not SETS, reason=f"no compiled kernels here: {library.why_no_kernels()}")
each_set = pytest.mark.parametrize("functions", SETS, ids=lambda functions: functions.name)
DRAW = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return DRAW.standard_normal(shape, np.float32)


def normalized(x: np.ndarray, norm: tuple[np.ndarray, np.ndarray, float]) -> np.ndarray:
    weight, bias = (torch.from_numpy(each).double() for each in norm[:2])
    return F.layer_norm(torch.from_numpy(x).double(), (len(weight),), weight, bias, norm[2]).numpy()


@each_set
@settings(max_examples=60, deadline=None)
@given(
    tokens=st.integers(0, 40),
    width=st.integers(2, 70),
    with_types=st.booleans(),
    kind=st.sampled_from(["float", "int8"]),
)
def test_any_shape(functions, tokens, width, with_types, kind) -> None:
    words, types, positions = floats(50, width), floats(2, width), floats(30, width)
    norm = floats(width), floats(width), 1e-12
    ids, places = DRAW.integers(0, 50, tokens), DRAW.integers(0, 30, tokens)
    kinds = DRAW.integers(0, 2, tokens) if with_types else None
    table, scale = words, None
    if kind == "int8":
        table, scale = DRAW.integers(-127, 128, words.shape, np.int8), abs(floats(50))
        words = table * scale[:, None]
    found = PackedEmbeddings(table, types, positions, norm, functions, scale)(ids, kinds, places, threads=2)
    summed = words[ids] + types[np.zeros_like(ids) if kinds is None else kinds] + positions[places]
    assert found.shape == (tokens, width)
    # LayerNorm magnifies rounding errors of rows whose elements are nearly equal
    sharpness = abs(summed).max(axis=1, keepdims=True) / summed.std(axis=1, keepdims=True)
    allowed = 1e-5 * (1 + abs(normalized(summed, norm))) + 2e-6 * sharpness * abs(norm[0])
    assert (abs(found - normalized(summed, norm)) <= allowed).all()
    np.testing.assert_array_equal(found, layer_norm(summed, *norm, functions, threads=1))


@each_set
def test_without_positions(functions) -> None:
    words, types, norm = floats(9, 20), floats(1, 20), (floats(20), floats(20), 1e-5)
    ids = np.array([8, 0, 3], np.int32)
    found = PackedEmbeddings(words, types, None, norm, functions)(ids, None, None, threads=1)
    np.testing.assert_array_equal(found, layer_norm(words[ids] + types[0], *norm, functions, threads=1))


@each_set
def test_ids_out_of_range_are_refused(functions) -> None:
    embed = PackedEmbeddings(floats(9, 20), floats(2, 20), floats(5, 20), (floats(20), floats(20), 1e-5), functions)
    fine = np.array([0, 1])
    for arguments, why in (
        (([0, 9], fine, fine), "word_ids is 9, but its table ends at 8"),
        (([-1, 0], fine, fine), "word_ids is -1"),
        ((fine, [0, 2], fine), "type_ids is 2"),
        ((fine, fine, [5, 0]), "position_ids is 5"),
        ((fine, fine[:1], fine), "as many token types and positions as ids"),
        ((fine, None, None), "as many token types and positions as ids"),
    ):
        with pytest.raises(InputError, match=why):
            embed(*(None if each is None else np.array(each) for each in arguments), threads=1)
    with pytest.raises(InputError, match="A kernel was given"):
        PackedEmbeddings(floats(9, 20), floats(2, 21), None, (floats(20), floats(20), 1e-5), functions)


@each_set
def test_threads_change_no_bit(functions) -> None:
    embed = PackedEmbeddings(floats(9, 24), floats(2, 24), floats(50, 24), (floats(24), floats(24), 1e-5), functions)
    ids, places = DRAW.integers(0, 9, 50), np.arange(50)
    alone = embed(ids, None, places, threads=1)
    for threads in (2, 3):
        np.testing.assert_array_equal(embed(ids, None, places, threads=threads), alone)
