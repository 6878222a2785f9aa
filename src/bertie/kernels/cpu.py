"""The processor's name and features, by which products are chosen. Reading them needs no PyTorch."""

import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Chip:
    """What decides which products are fastest on a processor."""

    name: str = "unknown"  # as reported by the processor
    amd: bool = False  # MKL runs its AVX2 code on every AMD processor, even one with AVX-512
    bf16: bool = False  # bfloat16 products (AVX-512 BF16, AMX or Arm's)

    def __str__(self) -> str:
        return f"{self.name} ({'bf16' if self.bf16 else 'no bf16'})"


@lru_cache(maxsize=1)
def chip() -> Chip:
    """Return this machine's processor, or an unknown one if the system does not describe it."""
    return read_chip(cpuinfo()) if _CPUINFO.is_file() else Chip(platform.processor() or "unknown")


def read_chip(cpuinfo: str) -> Chip:
    """Return the processor described by a text in the format of Linux's ``/proc/cpuinfo``."""
    has = flags(cpuinfo)
    return Chip(
        name=field(cpuinfo, "model name") or "unknown",
        amd=field(cpuinfo, "vendor_id") == "AuthenticAMD",
        bf16=bool(has & {"avx512_bf16", "amx_bf16", "bf16"}),
    )


def cpuinfo() -> str:
    """Return the contents of ``/proc/cpuinfo``, or an empty string if there is none."""
    try:
        return _CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return ""


def field(cpuinfo: str, name: str) -> str:
    """Return the first processor's value of the field ``name``, or an empty string."""
    found = re.search(rf"^{name}\s*:(.*)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else ""


def flags(cpuinfo: str) -> frozenset[str]:
    """Return the processor's feature flags, by the system's names."""
    return frozenset((field(cpuinfo, "flags") or field(cpuinfo, "Features")).split())
