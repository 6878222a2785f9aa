"""The compiled library: where it lies, what of it runs on this processor, and its functions as Python calls them."""

import ctypes
import sysconfig
from ctypes import c_float, c_int, c_long, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bertie.native.layout import BlockLayout, Scratch

_PRODUCT = [c_void_p] * 5 + [c_long] * 3 + [c_int] * 2
_INT8_PRODUCT = [c_void_p] * 10 + [c_long] * 3 + [c_int, c_float, c_int, c_int, c_float, c_int]
_ENCODER = [c_void_p, c_long] + [c_void_p] * 3 + [c_long] * 2 + [c_void_p, c_int]
_ATTENTION = [c_void_p] * 7 + [c_long] * 7 + [c_int]


@dataclass(frozen=True, eq=False)
class InstructionSet:
    """The functions for one width of vectors.

    Args:
        name: "avx2" or "avx512".
        width: the columns of a panel of weights.
        product, encoder, attention, attention_scratch: as product.h, encoder.h and attention.h describe them.
        int8_product: as int8.h does; None without VNNI.
    """

    name: str
    width: int
    product: Any
    encoder: Any
    attention: Any
    attention_scratch: Any
    int8_product: Any = None


def best() -> InstructionSet | None:
    """Return the fastest functions that the processor can run, or None: `why_none` says why."""
    return next(iter(instruction_sets()), None)


def why_none() -> str:
    """Return why there are no functions here, or an empty text."""
    if best() is not None:
        return ""
    library = _library()
    return library if isinstance(library, str) else "its kernels are compiled by gcc for x86-64 with AVX2 only"


@lru_cache(maxsize=1)
def instruction_sets() -> tuple[InstructionSet, ...]:
    """Return all that the processor can run, the fastest first."""
    library = _library()
    if isinstance(library, str):
        return ()
    level = library.bertie_instruction_sets()
    found = []
    if level >= 2:
        found.append(_bound(library, "avx512", 32, int8=level >= 3))
    if level >= 1:
        found.append(_bound(library, "avx2", 16, int8=False))
    return tuple(found)


def _bound(library: ctypes.CDLL, name: str, width: int, int8: bool) -> InstructionSet:
    def function(called: str, arguments: list[Any], result: Any = None) -> Any:
        found = getattr(library, f"bertie_{name}_{called}")
        found.argtypes, found.restype = arguments, result
        return found

    return InstructionSet(
        name,
        width,
        function("product", _PRODUCT),
        function("encoder", _ENCODER),
        function("attention", _ATTENTION),
        function("attention_scratch", [c_long, c_long], c_long),
        function("int8_product", _INT8_PRODUCT) if int8 else None,
    )


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | str:
    """Return the library, or why there is none."""
    path = Path(__file__).with_name(f"_kernels{sysconfig.get_config_var('EXT_SUFFIX')}")
    if not path.is_file():
        return "bertie was installed without a C compiler"
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return f"its kernels cannot be loaded ({error})"
    library.bertie_layout.restype = c_long
    if library.bertie_layout() != ctypes.sizeof(BlockLayout) + 1000 * ctypes.sizeof(Scratch):
        return "its kernels were compiled from other sources; install bertie again"
    return library
