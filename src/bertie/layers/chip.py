"""What the processor at hand can do: the facts by which a kernel is chosen."""

import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Chip:
    """The instruction sets of a processor that decide which kernel is fastest on it.

    Args:
        name: as the processor calls itself.
        amd: MKL runs its AVX2 code on every AMD chip, whatever else the chip has.
        avx512: 512-bit vectors.
        vnni: products of 8-bit integers in one instruction, without the 16-bit sums that saturate.
        bf16: products of bfloat16 (AVX-512 BF16 or AMX).
    """

    name: str = "unknown"
    amd: bool = False
    avx512: bool = False
    vnni: bool = False
    bf16: bool = False

    def __str__(self) -> str:
        able = [word for word in ("avx512", "vnni", "bf16") if getattr(self, word)]
        return f"{self.name} ({', '.join(able) or torch.backends.cpu.get_cpu_capability()})"


@lru_cache(maxsize=1)
def chip() -> Chip:
    """Return the processor that PyTorch runs on; where the system does not tell, one that can do little."""
    return read_chip(_CPUINFO.read_text()) if _CPUINFO.is_file() else Chip(platform.processor() or "unknown")


def read_chip(cpuinfo: str) -> Chip:
    """Return the processor that a text laid out like Linux's ``/proc/cpuinfo`` describes."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return Chip(
        name=fields.get("model name", "unknown"),
        amd=fields.get("vendor_id") == "AuthenticAMD",
        avx512="avx512f" in flags,
        vnni=bool(flags & {"avx512_vnni", "avx_vnni"}),
        bf16=bool(flags & {"avx512_bf16", "amx_bf16"}),
    )
