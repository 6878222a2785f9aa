"""The compiled library: its structures field by field, what of it runs on this processor, and its functions."""

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int, c_long, c_ulong, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from bertie.openmp import let_children_compute

ABI_VERSION = 4  # as in abi.h


class PackedWeightStruct(ctypes.Structure):
    arrays: Any  # those whose addresses it holds
    _fields_ = (
        *((name, c_void_p) for name in ("panels", "bias", "scale", "smooth", "shift")),
        *((name, c_long) for name in ("depth", "columns", "input_bits")),
        *((name, c_float) for name in ("input_scale", "min_divisor")),
        *((name, c_int) for name in ("zero_point", "one_sided")),
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
    _fields_ = (("seed", c_ulong), ("least", c_int), ("scale", c_float))


class AttentionStruct(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("q", "k", "v", "y", "cu_seqlens_q", "cu_seqlens_k")),
        *((name, c_long) for name in ("q_stride", "k_stride", "v_stride")),
        *((name, c_long) for name in ("tokens_q", "tokens_k", "batch", "heads", "width")),
        ("lse", c_void_p),
        ("dropout", POINTER(DropoutStruct)),
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


_STRUCTS = {
    "packed_weight": PackedWeightStruct,
    "norm": NormStruct,
    "block": BlockStruct,
    "dropout": DropoutStruct,
    "attention": AttentionStruct,
    "attention_backward": AttentionBackwardStruct,
    "embeddings": EmbeddingsStruct,
}
_ABI_FIELDS = ("version", *_STRUCTS)


class BertieAbi(ctypes.Structure):
    """What abi.h says of the sources that a library was compiled from."""

    _fields_ = tuple((name, c_long) for name in _ABI_FIELDS)


_ABI = BertieAbi(ABI_VERSION, *map(ctypes.sizeof, _STRUCTS.values()))

# each function's arguments and result, as the header of its name has them
_FUNCTIONS: dict[str, tuple[list[Any], Any]] = {
    "pack": ([c_void_p, c_long, c_long, c_int, c_void_p, c_int], None),
    "linear": ([POINTER(PackedWeightStruct), *[c_void_p] * 3, c_long, c_int, c_int], c_int),
    "layer_norm": ([c_void_p, POINTER(NormStruct), c_long, c_long, c_int], None),
    "attention": ([POINTER(AttentionStruct), c_int], c_int),
    "attention_backward": ([POINTER(AttentionBackwardStruct), c_int], c_int),
    "dropout": ([c_void_p, c_void_p, c_long, POINTER(DropoutStruct), c_int], None),
    "activation": ([c_void_p, c_long, c_int, c_int], None),
    "embeddings": ([POINTER(EmbeddingsStruct), c_void_p, c_int], c_int),
    "encoder": ([c_void_p, c_long, *[c_void_p] * 3, c_long, c_long, c_int], c_int),
}


@dataclass(frozen=True, eq=False)
class InstructionSet:
    """The functions for one width of vectors.

    Args:
        name: "avx2", "avx512", "avx512vnni", "neon" or "neondot".
        panel_width: the columns of a panel of weights.
        byte_offset: what it subtracts from inputs of 8 bits, 0 to 255, before it multiplies them; None where the inputs
            of int8 weights must have 16 bits.
    """

    name: str
    panel_width: int
    byte_offset: int | None
    pack: Any
    linear: Any
    layer_norm: Any
    attention: Any
    attention_backward: Any
    dropout: Any
    activation: Any
    embeddings: Any
    encoder: Any

    @property
    def multiplies_bytes(self) -> bool:
        """Whether the inputs of int8 weights may have 8 bits; 16 they may have anywhere."""
        return self.byte_offset is not None


# the columns of a panel: two vectors
_PANEL_WIDTHS = {"avx512vnni": 32, "avx512": 32, "avx2": 16, "neondot": 8, "neon": 8}
_BYTE_OFFSETS = {"avx512vnni": 0, "neondot": 128}


def best() -> InstructionSet | None:
    """Return the fastest functions that the processor can run, or None: `why_none` says why."""
    return next(iter(instruction_sets()), None)


def why_none() -> str:
    """Return why there are no functions here, or an empty text."""
    if best() is not None:
        return ""
    library = _library()
    return library if isinstance(library, str) else "its kernels are for x86-64 with AVX2 and for 64-bit Arm only"


@lru_cache(maxsize=1)
def instruction_sets() -> tuple[InstructionSet, ...]:
    """Return all that the processor can run, the fastest first."""
    library = _library()
    if isinstance(library, str):
        return ()
    return tuple(_bound(library, name) for name in library.bertie_instruction_sets().decode().split())


def _bound(library: ctypes.CDLL, name: str) -> InstructionSet:
    functions = {}
    for called, (arguments, result) in _FUNCTIONS.items():
        functions[called] = getattr(library, f"bertie_{name}_{called}")
        functions[called].argtypes, functions[called].restype = arguments, result
    return InstructionSet(name, _PANEL_WIDTHS[name], _BYTE_OFFSETS.get(name), **functions)


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | str:
    """Return the library, or why there is none."""
    name = f"_kernels{EXTENSION_SUFFIXES[0]}"
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
        library.bertie_abi.restype, library.bertie_instruction_sets.restype = POINTER(BertieAbi), c_char_p
    except OSError as error:
        return f"its kernels cannot be loaded ({error})"
    except AttributeError:
        return f"another library lies in their place ({name}); install bertie again"
    abi = library.bertie_abi()
    if abi and any(getattr(abi.contents, name) != getattr(_ABI, name) for name in _ABI_FIELDS):
        return "its kernels were compiled from other sources; install bertie again"
    let_children_compute(library)
    return library
