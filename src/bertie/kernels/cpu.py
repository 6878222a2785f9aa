"""What the processor at hand can do: the facts by which a kernel is chosen. Reading them needs no PyTorch."""

import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Chip:
    """What decides how a processor multiplies fastest."""

    name: str = "unknown"  # as the processor calls itself
    amd: bool = False  # MKL runs its AVX2 code on every AMD chip, whatever else the chip has
    bf16: bool = False  # products of bfloat16 (AVX-512 BF16, AMX or Arm's)

    def __str__(self) -> str:
        return f"{self.name} ({'bf16' if self.bf16 else 'no bf16'})"


@lru_cache(maxsize=1)
def chip() -> Chip:
    """Return the processor at hand; an unknown one where the system does not describe it."""
    return read_chip(cpuinfo()) if _CPUINFO.is_file() else Chip(platform.processor() or "unknown")


def read_chip(cpuinfo: str) -> Chip:
    """Return the processor that a text laid out like Linux's ``/proc/cpuinfo`` describes."""
    has = flags(cpuinfo)
    return Chip(
        name=field(cpuinfo, "model name") or "unknown",
        amd=field(cpuinfo, "vendor_id") == "AuthenticAMD",
        bf16=bool(has & {"avx512_bf16", "amx_bf16", "bf16"}),
    )


def cpuinfo() -> str:
    """Return the system's description of the processors; empty where there is none."""
    try:
        return _CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return ""


def field(cpuinfo: str, name: str) -> str:
    """Return what the first processor has under ``name``, or an empty text."""
    found = re.search(rf"^{name}\s*:(.*)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else ""


def flags(cpuinfo: str) -> frozenset[str]:
    """Return the instruction sets by the names the system gives them."""
    return frozenset((field(cpuinfo, "flags") or field(cpuinfo, "Features")).split())
