"""The machine at hand: its chip in words, what else it does meanwhile, and a process's memory."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertie.kernels import cpu

# what decides which kernels run, best first
FEATURES = (
    "amx_int8",
    "amx_bf16",
    "avx512_bf16",
    "avx512_vnni",
    "avx512f",
    "avx_vnni",
    "avx2",
    "i8mm",
    "bf16",
    "asimd",
)
_NAMES = {
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bf16",
    "avx512_bf16": "AVX-512 bf16",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX VNNI",
    "avx2": "AVX2",
    "asimd": "NEON",
}


def describe() -> str:
    """Return the chip in words: ``"AMD Zen 3 (AVX2), 2 cores"``."""
    flags = cpu.flags(cpu.cpuinfo())
    names = ", ".join(_NAMES.get(flag, flag) for flag in FEATURES if flag in flags and not _implied(flag, flags))
    return f"{_chip(flags)} ({names or platform.machine()}), {cores()} core{'s' if cores() > 1 else ''}"


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_bf16(device: str) -> bool:
    """Whether the chip, or the CUDA device, multiplies bf16 by itself."""
    return device != "cpu" or cpu.read_chip(cpu.cpuinfo()).bf16


def peak_device_memory() -> int:
    """Return the most bytes that PyTorch has had on the CUDA device; 0 without one, or without PyTorch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return int(torch.cuda.max_memory_allocated())


class Load:
    """What else the processors did while a worker was timed: other programs, and what the host took for others.

    Where the system does not tell, the share is 0.
    """

    def __init__(self) -> None:
        self._others = self._all = 0.0

    @property
    def share(self) -> float:
        """How much of the processors' time went to others so far, from 0 to 1."""
        return max(0.0, self._others / self._all) if self._all else 0.0

    @contextmanager
    def beside(self, worker: int) -> Iterator[None]:
        """Count what is done in this block by others than the process ``worker``."""
        (busy, total), own = _processors(), _process(worker)
        yield
        (busy_now, total_now), own_now = _processors(), _process(worker)
        self._others += (busy_now - busy) - (own_now - own)
        self._all += total_now - total


def _processors() -> tuple[int, int]:
    """Return the clock ticks that all processors were busy, and that have passed."""
    first = _read("/proc/stat").partition("\n")[0].split()[1:9]
    ticks = [int(number) for number in first] or [0] * 8
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # less idle and waiting for disks


def _process(pid: int) -> int:
    """Return the clock ticks of processor time that a process has had."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


def _chip(flags: frozenset[str]) -> str:
    text = cpu.cpuinfo()
    vendor, family = cpu.field(text, "vendor_id"), cpu.field(text, "cpu family")
    if vendor == "AuthenticAMD":
        zen3_or_4 = "AMD Zen 4" if "avx512f" in flags else "AMD Zen 3"
        return {"23": "AMD Zen 2 or older", "25": zen3_or_4, "26": "AMD Zen 5"}.get(family, "AMD")
    if vendor == "GenuineIntel":
        return "Intel"
    return "Apple" if sys.platform == "darwin" else platform.machine()


def _implied(flag: str, flags: frozenset[str]) -> bool:
    return flag in ("avx2", "avx_vnni") and "avx512f" in flags


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
