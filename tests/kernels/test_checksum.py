"""A checksum detects what a sum does not: elements that are moved, and changes that cancel out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.kernels import checksum


def of(*arrays: np.ndarray, threads: int = 1) -> tuple[int, ...]:
    return checksum.checksums([each.ctypes.data for each in arrays], [each.nbytes for each in arrays], threads)


@pytest.fixture(params=["kernel", "zlib"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "zlib":
        monkeypatch.setattr(checksum, "_kernel", lambda: None)
    elif checksum._kernel() is None:
        pytest.skip("the kernel was not compiled")


@pytest.mark.usefixtures("way")
def test_order_matters() -> None:
    square = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
    columns, two, signs = square[:, [1, 0, 2, 3]].copy(), square.copy(), square.copy()
    two[2, [0, 2]] = two[2, [2, 0]]
    signs[:, 1] *= -1  # the highest of 64 bits, in which changes of a sum or product would cancel out
    (first, *others), again = of(square, columns, two, signs, square.T.copy(), np.zeros_like(square)), of(square.copy())
    assert first == again[0]
    assert len({first, *others}) == 6


@pytest.mark.usefixtures("way")
def test_no_arrays_and_many_arrays() -> None:
    assert of() == ()
    arrays = [np.arange(size, dtype=np.float32) for size in range(1, 70)]
    assert len(set(of(*arrays))) == len(arrays)
    assert of(*arrays, threads=2) == of(*arrays)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_every_bit_counts(memory: bytes, data: st.DataObject) -> None:
    bits = np.unpackbits(np.frombuffer(memory, np.uint8))
    other = bits.copy()
    places = data.draw(st.sets(st.integers(0, len(bits) - 1), min_size=1, max_size=4))
    other[list(places)] ^= 1
    assert of(np.packbits(bits)) != of(np.packbits(other))
