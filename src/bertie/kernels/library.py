"""The compiled library: its C structures, the instruction sets that this processor can run, and their functions."""

import ctypes
import platform
import sys
import sysconfig
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_float, c_int, c_long, c_ulong, c_void_p
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Annotated, Any

from bertie.openmp import make_fork_safe

ABI_VERSION = 11  # as in abi.h


class PackedWeightStruct(ctypes.Structure):
    arrays: Any  # kept alive: the structure holds their addresses
    _fields_ = (
        *((name, c_void_p) for name in ("panels", "bias", "scale", "smooth", "sums")),
        *((name, c_long) for name in ("depth", "columns", "input_bits")),
        ("input_step", c_float),
    )


class NormStruct(ctypes.Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p), ("eps", c_float))


class BlockStruct(ctypes.Structure):
    _fields_ = (
        *((name, PackedWeightStruct) for name in ("qkv", "attention_output", "intermediate", "output")),
        *((name, NormStruct) for name in ("attention_norm", "output_norm")),
        *((name, c_long) for name in ("heads", "width", "activation")),
    )


class DropoutStruct(ctypes.Structure):
    _fields_ = (("seed", c_ulong), ("threshold", c_int), ("scale", c_float))


class AttentionStruct(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("q", "k", "v", "y", "cu_seqlens_q", "cu_seqlens_k")),
        *((name, c_long) for name in ("q_stride", "k_stride", "v_stride")),
        *((name, c_long) for name in ("tokens_q", "tokens_k", "batch", "heads", "width")),
        ("lse", c_void_p),
        ("dropout", POINTER(DropoutStruct)),
        *((name, c_long) for name in ("half", "approximate")),
    )


class AttentionBackwardStruct(ctypes.Structure):
    _fields_ = (("forward", AttentionStruct), *((name, c_void_p) for name in ("dy", "dq", "dk", "dv")))


class EmbeddingTableStruct(ctypes.Structure):
    _fields_ = (("rows", c_void_p), ("scale", c_void_p), ("count", c_long))


class EmbeddingsStruct(ctypes.Structure):
    _fields_ = (
        *((name, EmbeddingTableStruct) for name in ("words", "types", "positions")),
        *((name, c_void_p) for name in ("word_ids", "type_ids", "position_ids")),
        *((name, c_long) for name in ("tokens", "columns")),
        ("norm", NormStruct),
    )


class ResidualNormStruct(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("x", "bias", "residual", "sum", "y", "means", "factors")),
        ("norm", NormStruct),
        *((name, c_long) for name in ("rows", "columns", "half")),
        ("dropout", POINTER(DropoutStruct)),
    )


class ResidualNormBackwardStruct(ctypes.Structure):
    _fields_ = (
        ("forward", ResidualNormStruct),
        *((name, c_void_p) for name in ("dy", "dx", "dsum", "dweight", "dnorm_bias", "dbias")),
    )


class CrossEntropyStruct(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("logits", "labels", "losses", "lse")),
        *((name, c_long) for name in ("rows", "classes", "half")),
    )


class WeightGradientStruct(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("dy", "x", "dw")),
        *((name, c_long) for name in ("rows", "columns", "depth")),
    )


class MatmulStruct(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("a", "b", "bias", "c", "sums")),
        *((name, c_long) for name in ("rows", "depth", "columns", "a_stride", "b_stride", "c_stride")),
        *((name, c_long) for name in ("a_is_transposed", "b_is_transposed")),
    )


_STRUCTS = {
    "packed_weight": PackedWeightStruct,
    "norm": NormStruct,
    "block": BlockStruct,
    "dropout": DropoutStruct,
    "attention": AttentionStruct,
    "attention_backward": AttentionBackwardStruct,
    "embeddings": EmbeddingsStruct,
    "residual_norm": ResidualNormStruct,
    "residual_norm_backward": ResidualNormBackwardStruct,
    "cross_entropy": CrossEntropyStruct,
    "weight_gradient": WeightGradientStruct,
    "matmul": MatmulStruct,
}
_ABI_FIELDS = ("version", *_STRUCTS)


class BertieAbi(ctypes.Structure):
    """The structure sizes and the version of the sources that a library was compiled from, as in abi.h."""

    _fields_ = tuple((name, c_long) for name in _ABI_FIELDS)


_ABI = BertieAbi(ABI_VERSION, *map(ctypes.sizeof, _STRUCTS.values()))


@dataclass(frozen=True, eq=False)
class InstructionSet:
    """The functions of one instruction set; the header with a function's name documents its arguments."""

    name: str  # "avx2", "avx512", "avx512vnni", "neon" or "neondot"
    panel_width: int  # columns of a panel of weights
    multiplies_bytes: bool  # whether the inputs of int8 layers may have 8 bits; 16 bits work everywhere
    pack: Annotated[Any, CFUNCTYPE(None, c_void_p, c_long, c_long, c_int, c_void_p, c_int)]
    linear: Annotated[Any, CFUNCTYPE(c_int, POINTER(PackedWeightStruct), *[c_void_p] * 3, c_long, c_int, c_int)]
    linear_unpacked: Annotated[Any, CFUNCTYPE(None, *[c_void_p] * 4, *[c_long] * 3, c_int)]
    matmul: Annotated[Any, CFUNCTYPE(c_int, POINTER(MatmulStruct), c_int)]
    layer_norm: Annotated[Any, CFUNCTYPE(None, c_void_p, POINTER(NormStruct), c_long, c_long, c_int)]
    attention: Annotated[Any, CFUNCTYPE(c_int, POINTER(AttentionStruct), c_int)]
    attention_backward: Annotated[Any, CFUNCTYPE(c_int, POINTER(AttentionBackwardStruct), c_int)]
    dropout: Annotated[Any, CFUNCTYPE(None, c_void_p, c_void_p, c_long, POINTER(DropoutStruct), c_int)]
    bias_gelu: Annotated[Any, CFUNCTYPE(None, *[c_void_p] * 3, c_long, c_long, c_int, c_int)]
    bias_gelu_backward: Annotated[Any, CFUNCTYPE(c_int, *[c_void_p] * 5, c_long, c_long, c_int, c_int)]
    residual_norm: Annotated[Any, CFUNCTYPE(None, POINTER(ResidualNormStruct), c_int)]
    residual_norm_backward: Annotated[Any, CFUNCTYPE(c_int, POINTER(ResidualNormBackwardStruct), c_int)]
    cross_entropy: Annotated[Any, CFUNCTYPE(c_int, POINTER(CrossEntropyStruct), c_int)]
    cross_entropy_backward: Annotated[Any, CFUNCTYPE(None, POINTER(CrossEntropyStruct), c_void_p, c_void_p, c_int)]
    embeddings: Annotated[Any, CFUNCTYPE(c_int, POINTER(EmbeddingsStruct), c_void_p, c_int)]
    encoder: Annotated[Any, CFUNCTYPE(c_int, c_void_p, c_long, *[c_void_p] * 3, c_long, c_long, c_int)]
    weight_gradient: Any = None  # for bfloat16; None without AMX for bfloat16
    pack_slices: Any = None  # for float32 weights; None without AMX for 8-bit integers

    def __str__(self) -> str:
        return self.name if self.pack_slices is None else f"{self.name} and AMX"


# a panel is two vectors wide
_PANEL_WIDTHS = {"avx512vnni": 32, "avx512": 32, "avx2": 16, "neondot": 8, "neon": 8}
_MULTIPLY_BYTES = ("avx512vnni", "neondot")
# functions that need AMX: the flag that says whether there is any, the result and the arguments
_AMX_FUNCTIONS = {
    "weight_gradient": ("bertie_has_bfloat16_tiles", c_int, (POINTER(WeightGradientStruct), c_int)),
    "pack_slices": ("bertie_has_tiles", None, (c_void_p, c_long, c_long, c_void_p, c_void_p, c_int)),
}


def best() -> InstructionSet | None:
    """Return the fastest instruction set that the processor can run, or None: `why_no_kernels` says why."""
    return next(iter(instruction_sets()), None)


def why_no_kernels() -> str:
    """Return why there are no kernels here, or an empty string."""
    if best() is not None:
        return ""
    library = _library()
    return library if isinstance(library, str) else "its kernels are for x86-64 with AVX2 and for 64-bit Arm only"


@lru_cache(maxsize=1)
def instruction_sets() -> tuple[InstructionSet, ...]:
    """Return all instruction sets that the processor can run, fastest first."""
    library = _library()
    if isinstance(library, str):
        return ()
    return tuple(_bind(library, name) for name in library.bertie_instruction_sets().decode().split())


def _bind(library: ctypes.CDLL, name: str) -> InstructionSet:
    functions = {}
    for field in fields(InstructionSet):
        for prototype in getattr(field.type, "__metadata__", ()):
            functions[field.name] = prototype((f"bertie_{name}_{field.name}", library))
    for optional, (flag, result, arguments) in _AMX_FUNCTIONS.items():
        function = getattr(library, f"bertie_{name}_{optional}", None)  # some compilers do not support AMX
        if function is not None and c_int.in_dll(library, flag).value:
            function.restype, function.argtypes = result, arguments
            functions[optional] = function
    return InstructionSet(name, _PANEL_WIDTHS[name], name in _MULTIPLY_BYTES, **functions)


def loaded() -> ctypes.CDLL | None:
    """Return the library, whose plain-C functions run on any processor, or None."""
    library = _library()
    return None if isinstance(library, str) else library


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | str:
    """Return the library, or why there is none."""
    folder = Path(__file__).parent
    # the stable ABI's suffix is preferred to the one for this version of Python
    path = next(
        (path for suffix in reversed(EXTENSION_SUFFIXES) if (path := folder / f"_kernels{suffix}").is_file()), None
    )
    if path is None:
        return _why_not_compiled(folder)
    try:
        library = ctypes.CDLL(str(path))
        library.bertie_abi.restype, library.bertie_instruction_sets.restype = POINTER(BertieAbi), c_char_p
    except OSError as error:
        return f"its kernels cannot be loaded ({error})"
    except AttributeError:
        return f"{path.name} is some other library, not bertie's kernels; install bertie again"
    abi = library.bertie_abi()
    if abi and any(getattr(abi.contents, name) != getattr(_ABI, name) for name in _ABI_FIELDS):
        return "its kernels were compiled from other sources; install bertie again"
    make_fork_safe(library)
    return library


def _why_not_compiled(folder: Path) -> str:
    if others := sorted(other.name for other in folder.glob("_kernels*.*")):
        return f"its kernels were compiled for another Python or system ({others[0]}); install bertie again"
    if sys.platform not in ("linux", "darwin") or platform.machine() not in ("x86_64", "aarch64", "arm64"):
        return f"its kernels are for x86-64 and 64-bit Arm on Linux and macOS, not for {sysconfig.get_platform()}"
    return (
        "its kernels were not compiled: there was no C compiler when bertie was installed, or it runs from its "
        "sources; install gcc or clang, then bertie again"
    )
