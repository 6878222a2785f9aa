"""Checks of arrays before their addresses go to C, and aligned allocation."""

import numpy as np
import pytest

from bertie.errors import InputError
from bertie.kernels import arrays


@pytest.mark.parametrize(
    ("shape", "dtype"), [((3, 5), np.float32), ((7,), np.uint8), ((0, 4), np.int64), ((), np.int8)]
)
def test_arrays_are_aligned_to_cache_lines(shape: tuple[int, ...], dtype: type) -> None:
    made = [arrays.empty(*shape, dtype=dtype) for _ in range(20)]
    assert {(each.shape, each.dtype, each.ctypes.data % 64) for each in made} == {(shape, np.dtype(dtype), 0)}
    for number, each in enumerate(made):
        each[...] = number
    assert all((each == number).all() for number, each in enumerate(made))  # they do not overlap


def test_other_dtypes_and_dimensions_are_refused() -> None:
    arrays.check_float32((4,), np.zeros((2, 4), np.float32), np.zeros(4, np.float32))
    for wrong, said in ((np.zeros((2, 4)), r"float64 \[2, 4\]"), (np.zeros((4, 2), np.float32), r"float32 \[4, 2\]")):
        with pytest.raises(InputError, match=rf"was given {said}; it takes float32 whose last dimensions are \[4\]"):
            arrays.check_float32((4,), np.zeros(4, np.float32), wrong)


def test_either_all_arrays_hold_bfloat16_or_none() -> None:
    single, half = np.zeros((2, 4), np.float32), np.zeros((2, 4), np.uint16)
    assert (arrays.check_numbers((2, 4), single, single), arrays.check_numbers((4,), half, half)) == (False, True)
    for mixed, takes in (((single, half), "float32"), ((half, single), "uint16")):
        with pytest.raises(InputError, match=rf"it takes {takes} whose last dimensions are \[4\]"):
            arrays.check_numbers((4,), *mixed)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(3, np.int64),
        np.zeros((1, 3), np.int32),
        np.zeros(0, np.int32),
        np.zeros(6, np.int32)[::2],
    ],
)
def test_cu_seqlens_are_32_bit_integers(wrong: np.ndarray) -> None:
    arrays.check_cu_seqlens(np.zeros(3, np.int32))
    with pytest.raises(InputError, match=r"it must be int32 \[B \+ 1\]"):
        arrays.check_cu_seqlens(wrong)


def test_what_return_codes_mean() -> None:
    arrays.check_returned(0, 9)
    with pytest.raises(InputError, match="must rise from 0 to 9"):
        arrays.check_returned(1, 9)
    with pytest.raises(MemoryError):
        arrays.check_returned(2, 9)
