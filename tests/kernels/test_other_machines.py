"""Kernels for other processors and systems, compiled here and run by an emulator, give the same numbers."""

import importlib.util
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bertie.kernels import library

SETUP = runpy.run_path(str(Path(__file__).resolve().parents[2] / "setup.py"))
CSRC = Path(library.__file__).with_name("csrc")
FLAGS = (*SETUP["FLAGS"], "-Wno-unknown-pragmas", f"-I{CSRC}")
TARGETS: dict[str, list[str]] = SETUP["X86"] | SETUP["ARM"]
SYSROOT = Path("/usr/aarch64-linux-gnu")
CLANG_FOR_ARM = ("clang", "--target=aarch64-linux-gnu", f"--sysroot={SYSROOT}", f"-I{SYSROOT}/include")
OLD_ARM, NEW_ARM = "cortex-a72", "max"  # without sdot, and with it
is_x86 = library.best() is not None and library.best().name.startswith("avx")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_x86, reason="its numbers are compared with those of kernels for x86-64"),
    pytest.mark.skipif(not CSRC.is_dir(), reason="the sources in C are not beside this installation"),
]
Numbers = dict[str, np.ndarray]
# in later blocks, a number halfway between two integers may be rounded to either
TOLERANCES = {"encoder 16": 5e-4}


def needs(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user clang")


def compiled(compiler: tuple[str, ...], name: str, folder: Path, *flags: str) -> Path:
    program = folder / f"{compiler[0]}_{name}"
    left_out = {"avx2": (), "neon": ()}.get(name, (f"-DLEFT_OUT=bertie_{'neon' if 'neon' in name else 'avx2'}_abi",))
    defined = (f'-DSIMD="simd_{name}.h"', *left_out)
    sources = (str(Path(__file__).with_name("same_numbers.c")), str(CSRC / "cpu_features.c"))
    command = [*compiler, *FLAGS, *TARGETS[f"{name}.c"], *flags, *defined, *sources, "-lm", "-o", str(program)]
    subprocess.run(command, check=True, timeout=600, stderr=subprocess.DEVNULL)
    return program


def ran(program: Path, *emulator: str) -> tuple[str, Numbers]:
    """The instruction sets that the processor reports, and the numbers computed with the program's."""
    found = program.with_suffix(".numbers")
    done = subprocess.run(
        [*emulator, str(program), str(found)], check=True, timeout=600, capture_output=True, text=True
    )
    data, numbers, place = found.read_bytes(), {}, 0
    while place < len(data):
        end = data.index(b"\n", place)
        name, count = data[place:end].decode().rsplit(" ", 1)
        place = end + 1 + 4 * int(count)
        numbers[name] = np.frombuffer(data[end + 1 : place], np.float32)
    return done.stdout.strip(), numbers


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Numbers:
    """The numbers computed with AVX2, which other tests compare with NumPy and PyTorch."""
    needs("gcc")
    return ran(compiled(("gcc",), "avx2", tmp_path_factory.mktemp("x86"), "-fopenmp"))[1]


def check(found: Numbers, expected: Numbers) -> None:
    assert len(expected) > 180
    assert expected.keys() <= found.keys()
    for name, numbers in expected.items():
        if name.startswith("same"):  # the order of summation does not depend on the vector width
            np.testing.assert_array_equal(found[name], numbers, err_msg=name)
        else:
            scale = max(1.0, float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0)))
            np.testing.assert_allclose(
                found[name] / scale, numbers / scale, rtol=0, atol=TOLERANCES.get(name, 1e-5), err_msg=name
            )


def check_bytes(found: Numbers) -> None:
    """Products of 8-bit inputs, quantized as QuantParams defines, in NumPy."""
    counts = [int(name.split()[1]) for name in found if name.startswith("bytes ")]
    assert len(counts) > 25
    for rows in counts:
        scale, smooth, bias = (found[f"{name} {rows}"] for name in ("scale", "smooth", "bias"))
        weight = found[f"weight {rows}"].reshape(len(scale), len(smooth)).astype(np.int64)
        x = found[f"x {rows}"].reshape(rows, len(smooth)) * smooth
        low, high = (-x).max(1, initial=0), x.max(1, initial=0)
        units = ((high + low) * np.float32(1 / 254))[:, None]
        zero_points = np.rint(low[:, None] / units).astype(np.int64)
        whole = (np.rint(x * (1 / units)).astype(np.int64) + zero_points).clip(0, 255) - zero_points
        expected = (whole @ weight.T).astype(np.float32) * (scale * units) + bias
        np.testing.assert_array_equal(found[f"bytes {rows}"].reshape(expected.shape), expected)


@pytest.mark.parametrize("compiler", [("aarch64-linux-gnu-gcc", "-fopenmp"), CLANG_FOR_ARM], ids=["gcc", "clang"])
@pytest.mark.parametrize("name", ["neon", "neondot"])
def test_arm_gives_the_numbers_of_x86(compiler: tuple[str, ...], name: str, expected: Numbers, tmp_path: Path) -> None:
    needs(compiler[0], "qemu-aarch64", "aarch64-linux-gnu-gcc")
    program = compiled(compiler, name, tmp_path, "-static")
    sets, found = ran(program, "qemu-aarch64", "-cpu", OLD_ARM if name == "neon" else NEW_ARM)
    assert sets == ("neon" if name == "neon" else "neondot neon")
    check(found, expected)
    if name == "neondot":
        check_bytes(found)


@pytest.mark.parametrize("name", ["avx2", "avx512", "avx512vnni"])
def test_clang_gives_the_numbers_of_gcc(name: str, expected: Numbers, tmp_path: Path) -> None:
    needs("clang")
    if name not in [each.name for each in library.instruction_sets()]:
        pytest.skip(f"this processor cannot run {name}")
    sets, found = ran(compiled(("clang",), name, tmp_path))
    assert sets.split() == [each.name for each in library.instruction_sets()]
    check(found, expected)
    if name == "avx512vnni":
        check_bytes(found)


def compiled_by_zig(target: str, names: list[str], folder: Path) -> bytes:
    """A library for another system, whose headers and linker the compiler includes."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs ziglang: pip install ziglang")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    objects = []
    for name in ["checksum.c", "cpu_features.c", "wordpiece.c", *names]:
        # zig has its own names for processors; Apple's have sdot by default
        flags = [flag for flag in TARGETS.get(name, ()) if not flag.startswith("-march")]
        objects.append(str(folder / f"{name}.o"))
        command = [*zig, *FLAGS, *flags, "-fPIC", "-c", str(CSRC / name), "-o", objects[-1]]
        subprocess.run(command, check=True, timeout=600)
    library = folder / "library"
    subprocess.run([*zig, "-shared", *objects, "-o", str(library)], check=True, timeout=600)
    return library.read_bytes()


@pytest.mark.parametrize(("target", "names"), [("aarch64-macos", SETUP["ARM"]), ("x86_64-macos", SETUP["X86"])])
def test_macos_compiles(target: str, names: dict[str, list[str]], tmp_path: Path) -> None:
    made = compiled_by_zig(target, list(names), tmp_path)
    for name in names:
        assert f"bertie_{name.removesuffix('.c')}_encoder\0".encode() in made


def test_windows_compiles_to_a_library_without_kernels(tmp_path: Path) -> None:
    made = compiled_by_zig("x86_64-windows-gnu", list(SETUP["X86"]), tmp_path)
    assert b"bertie_instruction_sets" in made
    assert b"_encoder" not in made
