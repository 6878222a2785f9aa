"""The activations equal PyTorch's: alone, after a product and in the blocks."""

import numpy as np
import pytest
import torch

from bertie.kernels import gemm, library
from bertie.kernels.activations import ACTIVATION_CODES
from bertie.kernels.gemm import PackedWeight
from bertie.layers.activations import ACTIVATIONS

SETS = library.instruction_sets()
pytestmark = pytest.mark.skipif(not SETS, reason=f"no compiled kernels here: {library.why_no_kernels()}")
each_set = pytest.mark.parametrize("functions", SETS, ids=lambda functions: functions.name)
EDGES = [0.0, -0.0, 1e-30, -1e-30, 0.625, -0.625, 87.0, -87.0, -87.1, -88.5, 104.0, -104.0, 1e4, -1e4, 1e9, -1e9]
NUMBERS = np.concatenate([np.linspace(-30, 30, 60_001), np.linspace(-1, 1, 2_003), EDGES]).astype(np.float32)


def activated(x: np.ndarray, code: int, functions: library.InstructionSet) -> np.ndarray:
    """Apply an activation alone, as the epilogue of a product with 1."""
    one = PackedWeight(np.ones((1, 1), np.float32), np.zeros(1, np.float32), functions)
    return one(x.reshape(-1, 1), code, threads=2).reshape(x.shape)


def test_every_name_has_a_code() -> None:
    assert ACTIVATION_CODES.keys() == ACTIVATIONS.keys()
    assert len(set(ACTIVATION_CODES.values()) | {gemm.RESIDUAL}) == 16


@each_set
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_everywhere_as_pytorch(functions, name) -> None:
    found = activated(NUMBERS, ACTIVATION_CODES[name], functions)
    expected = ACTIVATIONS[name](torch.from_numpy(NUMBERS).double()).numpy()
    assert (abs(found - expected) <= 1e-6 * np.maximum(1, abs(expected))).all()


@each_set
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_propagates(functions, name) -> None:
    x = np.linspace(-3, 3, 37, dtype=np.float32)
    x[5] = np.nan
    found = activated(x, ACTIVATION_CODES[name], functions)
    assert np.flatnonzero(np.isnan(found)).tolist() == [5]


@each_set
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_after_a_product(functions, name) -> None:
    draw = np.random.default_rng(0)
    x, weight, bias = (draw.standard_normal(shape, np.float32) for shape in ((17, 20), (35, 20), (35,)))
    layer, code = PackedWeight(weight, bias, functions), ACTIVATION_CODES[name]
    expected = activated(layer(x, threads=1), code, functions)
    np.testing.assert_allclose(layer(x, code, threads=1), expected, rtol=1e-6, atol=1e-6)


@each_set
def test_small_numbers_keep_their_digits(functions) -> None:
    x = np.geomspace(1e-20, 0.6, 5_000, dtype=np.float32)
    for side in (x, -x):
        found = activated(side, gemm.TANH, functions)
        np.testing.assert_allclose(found, np.tanh(side.astype(float)), rtol=3e-7)
