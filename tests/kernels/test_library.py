"""The library is bertie's, compiled from these sources, and the package imports no PyTorch."""

import platform
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from bertie.kernels import library

needs_kernels = pytest.mark.skipif(
    not library.instruction_sets(), reason=f"no compiled kernels here: {library.why_no_kernels()}"
)


@needs_kernels
def test_instruction_sets_are_sorted_by_speed() -> None:
    sets = library.instruction_sets()
    assert library.best() is sets[0]
    names, arm = ["avx512vnni", "avx512", "avx2"], ["neondot", "neon"]
    assert [each.name for each in sets] in (names, names[1:], names[2:], arm, arm[1:])
    assert [each.multiplies_bytes for each in sets] == [each.name in ("avx512vnni", "neondot") for each in sets]
    assert [each.name for each in sets if each.pack_slices is not None] in ([], ["avx512vnni"])


@needs_kernels
def test_reasons_for_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert library.why_no_kernels() == ""
    monkeypatch.setattr(library, "instruction_sets", lambda: ())
    assert "AVX2 and for 64-bit Arm only" in library.why_no_kernels()
    library._library.cache_clear()
    monkeypatch.setattr(library, "EXTENSION_SUFFIXES", [".missing"])
    assert "for another Python or system (_kernels." in library.why_no_kernels()
    library._library.cache_clear()


def test_other_libraries_are_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import safetensors._safetensors_rust as other

    monkeypatch.setattr(library, "instruction_sets", lambda: ())
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    place = tmp_path / f"_kernels{sysconfig.get_config_var('EXT_SUFFIX')}"
    for lies_there, why in (
        (None, "no C compiler when bertie was installed, or it runs from its sources"),
        (b"no library", "cannot be loaded"),
        (Path(other.__file__).read_bytes(), "is some other library"),
    ):
        if lies_there is not None:
            place.write_bytes(lies_there)
        library._library.cache_clear()
        assert why in library.why_no_kernels()
    library._library.cache_clear()


@pytest.mark.parametrize(
    ("system", "machine", "named"), [("win32", "AMD64", "win-amd64"), ("linux", "riscv64", "linux-riscv64")]
)
def test_unsupported_machines_are_named(
    system: str, machine: str, named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "instruction_sets", lambda: ())
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sysconfig, "get_platform", lambda: named)
    library._library.cache_clear()
    assert library.why_no_kernels().endswith(f"on Linux and macOS, not for {named}")
    library._library.cache_clear()


@pytest.mark.skipif(len(EXTENSION_SUFFIXES) < 2, reason="this Python has one ending of libraries")
def test_the_stable_abi_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "instruction_sets", lambda: ())
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    endings = [ending for ending in EXTENSION_SUFFIXES if "abi3" in ending or "cpython" in ending]
    for ending in endings:
        (tmp_path / f"_kernels{ending}").write_bytes(b"no library")
    library._library.cache_clear()
    assert f"_kernels{endings[-1]}: " in library.why_no_kernels()
    library._library.cache_clear()


@needs_kernels
@pytest.mark.parametrize("name", [name for name, _ in library.BertieAbi._fields_])
def test_a_library_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(library, "instruction_sets", lambda: ())
    other = library.BertieAbi.from_buffer_copy(library._ABI)
    setattr(other, name, getattr(other, name) + 1)
    monkeypatch.setattr(library, "_ABI", other)
    library._library.cache_clear()
    assert "compiled from other sources" in library.why_no_kernels()
    library._library.cache_clear()


BLOCKED = "import sys; sys.modules['torch'] = None\n"
PRODUCT = """
import numpy as np
from bertie.kernels import library
from bertie.kernels.gemm import PackedWeight
layer = PackedWeight(np.eye(3, dtype=np.float32), np.ones(3, np.float32), library.best())
assert layer(np.full((2, 3), 2, np.float32), threads=1).tolist() == [[3, 3, 3]] * 2
"""


def test_no_module_of_the_room_imports_pytorch() -> None:
    room = Path(library.__file__).parent
    modules = [f"bertie.kernels.{path.stem}" for path in room.glob("*.py") if path.stem != "__init__"]
    code = f"{BLOCKED}import {', '.join(['bertie.kernels', *modules])}"
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_kernels
def test_a_product_needs_no_pytorch() -> None:
    subprocess.run([sys.executable, "-c", BLOCKED + PRODUCT], check=True)
