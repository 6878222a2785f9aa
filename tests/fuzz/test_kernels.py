"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer: no shape lets them leave their memory."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import bertie
from bertie.kernels import library

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
    pytest.mark.skipif(sys.platform != "linux", reason="sanitizers are loaded ahead of Python as Linux does it"),
    pytest.mark.skipif(not library.instruction_sets(), reason=f"no kernels run here: {library.why_no_kernels()}"),
]
SOURCES = ("checksum.c", "cpu_features.c", "wordpiece.c", "avx2.c", "avx512.c", "avx512vnni.c")
FLAGS = ("-fopenmp", "-fno-math-errno", "-ffp-contract=off", "-O1", "-g", "-fno-omit-frame-pointer")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package whose kernels are compiled with sanitizers."""
    root = tmp_path_factory.mktemp("sanitized")
    package = shutil.copytree(Path(bertie.__file__).parent, root / "bertie", ignore=shutil.ignore_patterns("*.so"))
    target = package / "kernels" / f"_kernels{sysconfig.get_config_var('EXT_SUFFIX')}"
    command = ["gcc", "-shared", "-fPIC", *FLAGS, *SANITIZERS, *SOURCES, "-o", str(target)]
    subprocess.run(command, cwd=package / "kernels" / "csrc", check=True, timeout=600)
    return root


def ran(sanitized: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    first = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(sanitized),
        "LD_PRELOAD": first.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",  # Python and PyTorch keep what they need for good
    }
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=1800)


@pytest.mark.parametrize("seed", range(4))
def test_any_shape(sanitized: Path, seed: int) -> None:
    done = ran(sanitized, str(Path(__file__).with_name("kernel_shapes.py")), "500", str(seed))
    assert done.stdout.endswith("all 500\n"), f"{done.stdout.splitlines()[-1:]}\n{done.stderr[:6000]}"


@pytest.mark.parametrize("seed", range(2))
def test_any_text(sanitized: Path, seed: int) -> None:
    done = ran(sanitized, str(Path(__file__).with_name("kernel_texts.py")), "500000", str(seed))
    assert done.stdout == "all 500000\n", done.stderr[:6000]


def test_the_sanitizers_are_awake(sanitized: Path) -> None:
    program = """
import ctypes
import numpy as np
from bertie.kernels.library import PackedWeightStruct, best
x = np.ones((3, 7), np.float32)
place = x.ctypes.data
best().linear(ctypes.byref(PackedWeightStruct(place, place, depth=7, columns=40)), place, None, place, 3, 0, 1)
"""
    done = ran(sanitized, "-c", program)
    assert done.returncode != 0
    assert "ERROR: AddressSanitizer" in done.stderr
