"""Checkpoint values in NumPy: half precision is widened exactly, and infinities are always found."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bertie.checkpoints import checkpoint_of, open_checkpoint
from bertie.checkpoints.tensors import all_finite, array_of, float32_of
from bertie.errors import CheckpointError

HALVES = np.arange(2**16, dtype=np.uint16)  # the bits of every half-precision value


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_widened_exactly(dtype: str) -> None:
    tensor = torch.from_numpy(HALVES).view(getattr(torch, dtype))
    found, expected = float32_of(array_of(tensor), dtype), tensor.float().numpy()
    assert found.dtype == np.float32
    numbers = ~np.isnan(expected)
    assert np.array_equal(np.isnan(found), ~numbers)
    assert np.array_equal(found.view(np.uint32)[numbers], expected.view(np.uint32)[numbers])  # the sign of 0 too


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_weights_are_converted_to_float32(tmp_path: Path, dtype: str) -> None:
    tensor = torch.randn(5, 7, dtype=torch.float64).to(getattr(torch, dtype))
    save_file({"weight": tensor}, tmp_path / "model.safetensors")
    for checkpoint in (open_checkpoint(tmp_path), checkpoint_of({"weight": tensor})):
        assert checkpoint.infos["weight"].dtype == dtype
        assert np.array_equal(checkpoint.float32("weight"), tensor.float().numpy())
        assert np.array_equal(checkpoint.array("weight"), array_of(tensor))
    if dtype == "float32":
        mapped = open_checkpoint(tmp_path)
        assert np.shares_memory(mapped.float32("weight"), mapped.array("weight"))


def test_a_state_dict_shares_no_memory_with_its_arrays() -> None:
    weight = torch.zeros(3)
    checkpoint_of({"weight": weight}).float32("weight")[:] = 1
    assert weight.sum() == 0


@pytest.mark.parametrize("dtype", ["int8", "int64", "bool", "float8_e5m2"])
def test_other_dtypes_are_not_converted(tmp_path: Path, dtype: str) -> None:
    save_file({"weight": torch.zeros(3).to(getattr(torch, dtype))}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"'weight' holds {dtype} where one of float32, float16"):
        open_checkpoint(tmp_path).float32("weight")


@pytest.mark.parametrize("made", [np.array, torch.tensor])
def test_all_finite(made: "type[np.ndarray]") -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all_finite(made([1.0, -2.0]))
        assert all_finite(made([3e38, 3e38], dtype=made([1.0]).dtype))
        assert all_finite(made([]))
        for bad in (float("nan"), float("inf"), -float("inf")):
            assert not all_finite(made([1.0, bad]))
        assert all_finite(np.full(4, 3e38, np.float32))  # their sum is infinite
        assert not all_finite(np.array([np.inf, -np.inf], np.float32))
