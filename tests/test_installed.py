"""An installation answers, whatever was compiled: run by themselves on each wheel, beside NumPy alone.

`[tool.cibuildwheel]` in pyproject.toml names these and other tests that need neither PyTorch nor ../shared.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_model import CONFIG, write_model

from bertie.engine import Engine
from bertie.kernels import library
from bertie.kernels.gemm import GELU, PackedWeight
from bertie.kernels.gemm_int8 import Int8PackedWeight, params_8_bits, params_16_bits
from bertie.pipelines import pipeline

TEXTS = ["a b c", "h", "a b c d e f g h a b c", ""]
PAIRS = [
    ("The captain looked at the sky.", "A storm was coming, he said."),
    ("The captain looked at the sky.", "This function returns a list of strings."),
]
# None: NumPy's products
SETS = [*library.instruction_sets(), None]
each_set = pytest.mark.parametrize("functions", SETS, ids=lambda each: each.name if each else "numpy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path)


def test_a_wheel_has_what_its_processor_runs() -> None:
    """Set by those who build wheels: there, kernels that are missing are a fault."""
    if wanted := os.environ.get("BERTIE_EXPECTED_KERNELS"):
        assert wanted in [each.name for each in library.instruction_sets()], library.why_no_kernels()
    assert (library.best() is None) == bool(library.why_no_kernels())


@each_set
def test_pipelines_answer(
    functions: library.InstructionSet | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = np.stack(answers(folder, monkeypatch, None))
    found = np.stack(answers(folder, monkeypatch, functions))
    assert expected.shape == (len(TEXTS), CONFIG["hidden_size"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, functions: library.InstructionSet | None
) -> list[np.ndarray]:
    monkeypatch.setattr(library, "instruction_sets", lambda: () if functions is None else (functions,))
    embed = pipeline("embed", Engine.open(folder), folder)
    assert ("NumPy" if functions is None else f"{functions} kernels") in embed.explain()
    return list(embed(TEXTS))


def test_the_command_answers(folder: Path) -> None:
    program = "from bertie.cli import main; main()"
    command = [sys.executable, "-c", program, "embed", "--model", str(folder), *TEXTS[:2]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == TEXTS[:2]


def test_the_default_model_comes_with_it() -> None:
    (best, *_) = pipeline("fill-mask")("She opened the [MASK] and walked into the garden.")
    assert best["token_str"] == "door"
    follows, elsewhere = pipeline("next-sentence")(PAIRS)
    assert follows["score"] > elsewhere["score"]


@pytest.mark.parametrize("functions", SETS[:-1], ids=lambda each: each.name)
def test_products_of_integers(functions: library.InstructionSet) -> None:
    chance = np.random.default_rng(1)
    weight, scale = chance.integers(-127, 128, (45, 31), np.int8), chance.random(45, np.float32) + 1
    x, bias = chance.standard_normal((29, 31), np.float32), chance.standard_normal(45, np.float32)
    product = x @ (weight * scale[:, None]).T + bias
    roundings = [(params_16_bits(weight), 1e-4)]
    if functions.multiplies_bytes:
        roundings += [(params_8_bits(), 2e-2)]
    for params, tolerance in roundings:
        layer = Int8PackedWeight(weight, scale, bias, params, functions)
        np.testing.assert_allclose(layer(x, threads=2), product, rtol=0, atol=tolerance * np.abs(product).max())


@pytest.mark.parametrize("functions", SETS[:-1], ids=lambda each: each.name)
def test_a_row_is_its_own_whatever_the_threads(functions: library.InstructionSet) -> None:
    chance = np.random.default_rng(2)
    x = chance.standard_normal((200, 64), np.float32)
    layer = PackedWeight(chance.standard_normal((100, 64), np.float32), np.zeros(100, np.float32), functions)
    whole = layer(x, GELU, threads=2)
    np.testing.assert_array_equal(whole[7:9], layer(x[7:9], GELU, threads=1))
