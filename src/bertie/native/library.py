"""The compiled library: where it lies, what of it runs on this processor, and its functions as Python calls them."""

import ctypes
import sysconfig
from ctypes import POINTER, c_float, c_int, c_long, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bertie.native.layout import SIZES, AttentionLayout, DropoutLayout, GradientLayout

_PRODUCT = [c_void_p] * 5 + [c_long] * 3 + [c_int] * 2
_INT8_PRODUCT = [c_void_p] * 10 + [c_long] * 3 + [c_int, c_float, c_int, c_int, c_float, c_int]
_ENCODER = [c_void_p, c_long] + [c_void_p] * 3 + [c_long] * 2 + [c_void_p, c_int]
_ATTENTION = [POINTER(AttentionLayout), c_void_p, c_long, c_int]
_ATTENTION_GRADIENT = [POINTER(GradientLayout), c_void_p, c_long, c_int]
_DROPOUT = [c_void_p] * 2 + [c_long, POINTER(DropoutLayout), c_int]


@dataclass(frozen=True, eq=False)
class InstructionSet:
    """The functions for one width of vectors.

    Args:
        name: "avx2" or "avx512".
        width: the columns of a panel of weights.
        product, encoder: as product.h and encoder.h describe them.
        attention, attention_scratch, attention_gradient, attention_gradient_scratch: as the headers of these names do.
        dropout: as dropout.h does.
        int8_product: as int8.h does; None without VNNI.
    """

    name: str
    width: int
    product: Any
    encoder: Any
    attention: Any
    attention_scratch: Any
    attention_gradient: Any
    attention_gradient_scratch: Any
    dropout: Any
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
        function("encoder", _ENCODER, c_int),
        function("attention", _ATTENTION, c_int),
        function("attention_scratch", [c_long] * 2, c_long),
        function("attention_gradient", _ATTENTION_GRADIENT, c_int),
        function("attention_gradient_scratch", [c_long] * 3, c_long),
        function("dropout", _DROPOUT),
        function("int8_product", _INT8_PRODUCT) if int8 else None,
    )


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | str:
    """Return the library, or why there is none."""
    name = f"_kernels{sysconfig.get_config_var('EXT_SUFFIX')}"
    path = Path(__file__).with_name(name)
    if not path.is_file():
        others = sorted(other.name for other in path.parent.glob("_kernels*.*"))
        if others:
            return f"its kernels were compiled for another Python or system ({others[0]}); install bertie again"
        return (
            "its kernels were not compiled: there was no C compiler when bertie was installed, or it runs from its "
            "sources; install gcc, and bertie again"
        )
    try:
        library = ctypes.CDLL(str(path))
        library.bertie_layout.restype = c_long
    except OSError as error:
        return f"its kernels cannot be loaded ({error})"
    except AttributeError:
        return f"another library lies in their place ({name}); install bertie again"
    if library.bertie_layout() != SIZES:
        return "its kernels were compiled from other sources; install bertie again"
    return library
