"""quantize_embeddings gives the values of sentence-transformers, and refuses bad arguments."""

from typing import Any

import numpy as np
import pytest
from sentence_transformers.util import quantize_embeddings as theirs

import bertie
from bertie.errors import InputError, InputTypeError

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.standard_normal((200, 37)).astype(np.float32)
VECTORS[:, 3] = 0.5  # a constant dimension
OTHERS = RANDOM.standard_normal((50, 37)).astype(np.float32) * 3


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize(
    "options", [{}, {"calibration_embeddings": OTHERS}, {"ranges": np.stack([OTHERS[0], OTHERS[1]])}]
)
@pytest.mark.parametrize("vectors", [VECTORS, VECTORS.astype(np.float64), VECTORS[:0]], ids=["32", "64", "none"])
def test_as_in_sentence_transformers(precision: Any, options: dict[str, Any], vectors: Any) -> None:
    found, expected = bertie.quantize_embeddings(vectors, precision, **options), theirs(vectors, precision, **options)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert (found == expected).all()


def test_a_single_vector() -> None:
    for options in ({"calibration_embeddings": OTHERS}, {"ranges": OTHERS[:2]}):
        found = bertie.quantize_embeddings(VECTORS[0], "int8", **options)
        assert (found == theirs(VECTORS[0], "int8", **options)).all()
    assert (bertie.quantize_embeddings(VECTORS[0], "binary") == theirs(VECTORS[0], "binary")).all()


def test_refused(caplog: pytest.LogCaptureFixture) -> None:
    for arguments, message in (
        (
            (VECTORS, "int4"),
            "precision is 'int4'; it must be one of 'float32', 'int8', 'uint8', 'binary', 'ubinary'. Did you",
        ),
        ((VECTORS[0], "int8"), "A single embedding has no ranges; give ranges"),
        ((VECTORS[:1], "int8"), "A single embedding has no ranges; give ranges"),
        ((VECTORS, "int8", OTHERS), "ranges has the shape [50, 37]; it must be [2, 37]."),
    ):
        with pytest.raises(InputError) as caught:
            bertie.quantize_embeddings(*arguments)
        assert message in str(caught.value)
    with pytest.raises(InputTypeError, match="The embeddings are int8; quantize_embeddings takes floating-point ones"):
        bertie.quantize_embeddings(bertie.quantize_embeddings(VECTORS, "int8"), "binary")
    bertie.quantize_embeddings(VECTORS[:9], "uint8")
    assert "The ranges of 9 embeddings are a guess" in caplog.text
