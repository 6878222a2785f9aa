"""Returned pages: no value changes, and on Linux the memory of mapped files decreases."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bertie import memory as room
from bertie.checkpoints import open_checkpoint
from bertie.memory import LARGE_PAGE, LargePages, anonymous_pages, drop_pages

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives pages back")


def mapped(folder: Path, tensor: torch.Tensor) -> torch.Tensor:
    save_file({"weight": tensor}, str(folder / "model.safetensors"))
    return open_checkpoint(folder).tensor("weight")


def drop(tensor: torch.Tensor) -> None:
    drop_pages(tensor.data_ptr(), tensor.nbytes)


def resident(tensor: torch.Tensor) -> int:
    """Return how many bytes of the mapping that contains ``tensor`` are in memory."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        field, _, value = line.partition(" ")
        if "-" in field and not field.endswith(":"):
            begin, end = (int(address, 16) for address in field.split("-"))
            inside = begin <= tensor.data_ptr() < end
        elif inside and field == "Rss:":
            return int(value.split()[0]) * 1024
    raise AssertionError("no such mapping")


@linux
def test_a_mapped_tensors_pages_are_dropped_and_read_again(tmp_path: Path) -> None:
    original = torch.randn(1024, 4096)
    tensor = mapped(tmp_path, original)
    assert torch.equal(tensor, original)
    before = resident(tensor)
    drop(tensor)
    after = resident(tensor)
    assert before >= tensor.nbytes
    assert torch.equal(tensor, original)
    drop(torch.nn.Parameter(tensor))
    assert torch.equal(tensor, original)
    if after == before:
        pytest.skip("this kernel, or a file system in memory, keeps the pages")
    assert after < before / 10


@linux
def test_a_neighbours_pages_are_kept(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2**20), "b": torch.ones(2**20)}, str(tmp_path / "model.safetensors"))
    checkpoint = open_checkpoint(tmp_path)
    a, b = checkpoint.tensor("a"), checkpoint.tensor("b")
    assert a.sum() == b.sum() == 2**20
    drop(a)
    assert resident(b) >= b.nbytes


def test_changed_pages_are_kept(tmp_path: Path) -> None:
    tensor = mapped(tmp_path, torch.zeros(512, 1024))
    tensor[100:120] = 7.0
    expected = tensor.clone()
    drop(tensor)
    assert torch.equal(tensor, expected)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(1024, 1024),
        torch.randn(512, 512).t(),
        torch.randn(3),
        torch.empty(0),
        torch.tensor(1.5),
        torch.arange(100_000)[1:],
    ],
)
def test_memory_without_a_file_is_kept(tensor: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise AssertionError("no call is due")

    monkeypatch.setattr(room, "_madvise", lambda: refuse)
    expected = tensor.clone()
    drop(tensor)
    assert torch.equal(tensor, expected)


def test_nothing_happens_on_other_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = mapped(tmp_path, torch.ones(1024, 1024))
    for name, value in (("_PAGEMAP", str(tmp_path / "none")), ("_madvise", lambda: None)):
        with monkeypatch.context() as patch:
            patch.setattr(room, name, value)
            drop(tensor)
    monkeypatch.setattr(sys, "platform", "darwin")
    drop(tensor)
    assert tensor.sum() == 2**20


@pytest.mark.parametrize("size", [0, 1, 3 * LARGE_PAGE + 5])
def test_allocated_pages(size: int) -> None:
    pages = LargePages()
    first, second = pages.allocate(size), pages.allocate(size)
    for bytes_ in (anonymous_pages(size), first, second):
        assert (bytes_.dtype, bytes_.shape, bytes_.flags.writeable) == (np.uint8, (size,), True)
        bytes_[:] = 7
        assert (bytes_ == 7).all()
    assert (first == 7).all(), "they overlap"
    assert not size or (first.ctypes.data % LARGE_PAGE, second.ctypes.data % 64) == (0, 0)
    larger = pages.allocate(40 << 20)
    assert not larger.any()
    assert larger.ctypes.data % LARGE_PAGE == 0


def test_only_file_backed_pages_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    present, file_backed, swapped = 1 << room._PRESENT, 1 << room._FILE_BACKED, 1 << room._SWAPPED
    pages = [present, present | file_backed, 0, present | file_backed, swapped]
    np.array(pages, np.uint64).tofile(tmp_path / "pagemap")
    monkeypatch.setattr(room, "_PAGEMAP", str(tmp_path / "pagemap"))
    assert room._all_file_backed(1, 3)
    assert not room._all_file_backed(0, 2)
    assert not room._all_file_backed(3, 2)


@linux
def test_freed_memory_is_kept_within_the_block() -> None:
    """In its own process, where nothing else allocates the freed memory."""
    program = """
import ctypes
import resource
from bertie.memory import keep_freed_memory

c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, (ctypes.c_size_t,), (ctypes.c_void_p,)
c.memset.argtypes = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t

def fresh_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    place = c.malloc(40 << 20)
    c.free(c.memset(place, 1, 40 << 20) and place)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

c.memset.restype = ctypes.c_void_p
outside = [fresh_pages() for _ in range(3)]
with keep_freed_memory():
    fresh_pages()
    inside = [fresh_pages() for _ in range(3)]
after = [fresh_pages() for _ in range(3)]
print(min(outside) > 1000, max(inside) < 1000, min(after) > 1000)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "True True True\n"


@linux
def test_freed_memory_between_used_blocks_is_returned() -> None:
    program = """
import ctypes
from bertie.memory import keep_freed_memory, return_freed_memory

c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, (ctypes.c_size_t,), (ctypes.c_void_p,)
c.memset.restype, c.memset.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

with keep_freed_memory():
    pieces = [c.memset(c.malloc(1 << 20), 1, 1 << 20) for _ in range(200)]
    for piece in pieces[::2]:
        c.free(piece)
    kept = resident()
    return_freed_memory()
    print(80 < kept - resident() < 120)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "True\n"


def test_the_primitive_cache_limit_can_be_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    room.limit_primitive_cache()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "32"
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "5")
    room.limit_primitive_cache()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "5"
