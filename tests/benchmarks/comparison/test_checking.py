"""The check before timing: who is too far from the reference is named and not timed."""

import numpy as np
import pytest

from comparison.checking import check

REFERENCE = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])


def test_fp32_is_held_to_the_largest_difference() -> None:
    assert check(REFERENCE + 1e-5, REFERENCE, "embed", "fp32").problem == ""
    found = check(REFERENCE + 1e-2, REFERENCE, "embed", "fp32")
    assert found.difference == pytest.approx(5e-3)  # on the scale of the largest answer
    assert found.problem == "Its answers differ by 5.0e-03; fp32 may differ by 1e-04."


def test_less_than_fp32_is_held_to_the_cosine() -> None:
    near = check(REFERENCE + np.array([[0.0, 0.1, 0.0], [0.0, 0.0, 0.0]]), REFERENCE, "embed", "int8")
    assert (near.problem, near.cosine_min) == ("", pytest.approx(1 / np.sqrt(1.01)))
    assert near.cosine_mean == pytest.approx((1 + near.cosine_min) / 2)
    far = check(REFERENCE[::-1], REFERENCE, "embed", "int8")
    assert far.problem == "Its answers have a mean cosine of 0.000 to fp32; below 0.9 nothing is timed."


def test_ids_are_equal_or_wrong() -> None:
    ids = np.array([3, 101, 7, 102])
    assert check(ids, ids, "tokenize", "fp32").problem == ""
    assert (
        check(ids + np.array([0, 0, 1, 0]), ids, "tokenize", "fp32").problem == "1 of its ids are not the reference's."
    )


def test_shapes_nan_and_zero_vectors() -> None:
    assert "of shape (1, 3) where (2, 3)" in check(REFERENCE[:1], REFERENCE, "embed", "fp32").problem
    assert "NaN" in check(REFERENCE * np.nan, REFERENCE, "embed", "bf16").problem
    assert check(REFERENCE * 0, REFERENCE * 0, "embed", "int8").cosine_min == 1
