"""Forked children of a process that has computed with several threads can compute with as many."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, torch, bertie
torch.manual_seed(0)
model = bertie.BertModel(bertie.BertConfig(
    vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256)).eval()
ids, square = torch.randint(1, 50, (64, 30)), torch.randn(600, 600)

def answer():
    with torch.no_grad():
        found = model(ids).last_hidden_state
    # a step of training, and an operator of PyTorch's own
    model(ids[:8]).last_hidden_state.sum().backward()
    return found, square @ square

expected = answer()
assert torch.get_num_threads() == 2
for _ in range(2):
    child = os.fork()
    if child == 0:
        assert torch.get_num_threads() == 2
        same = all(torch.equal(one, other) for one, other in zip(answer(), expected))
        grandchild = os.fork()
        if grandchild == 0:
            answer()
            os._exit(0 if same else 1)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    answer()
"""

KERNELS = """
import os, sys
import numpy as np
if sys.argv[1] == "before": import torch
from bertie.kernels import gemm, library
if library.best() is None: sys.exit()
product = gemm.PackedWeight(np.ones((512, 256), np.float32), np.zeros(512, np.float32), library.best())
if sys.argv[1] == "after": import torch; torch.ones(600, 600) @ torch.ones(600, 600)
x = np.ones((700, 256), np.float32)
expected = product(x, threads=2)
for _ in range(2):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(product(x, threads=2), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(product(x, threads=2), expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("torch_is_loaded", ["never", "before", "after"])
def test_a_forked_child_calls_the_kernels_without_pytorch_and_beside_it(torch_is_loaded: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", KERNELS, torch_is_loaded], env=environment, timeout=90, check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_of_two_threads_answers() -> None:
    import bertie

    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(Path(bertie.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, timeout=90, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
