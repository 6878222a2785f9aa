"""The structures of encoder.h, attention.h and attention_gradient.h, field by field."""

import ctypes
from ctypes import POINTER, c_float, c_int, c_long, c_ulong, c_void_p


class ProductLayout(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("panels", "bias", "scale", "smooth", "shift")),
        *((name, c_long) for name in ("depth", "columns", "is_int8")),
        *((name, c_float) for name in ("step", "at_least")),
        *((name, c_int) for name in ("zero_point", "one_sided")),
    )


class NormLayout(ctypes.Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p), ("eps", c_float))


class BlockLayout(ctypes.Structure):
    _fields_ = (
        *((name, ProductLayout) for name in ("projections", "output", "intermediate", "last")),
        *((name, NormLayout) for name in ("after_attention", "after_feed_forward")),
        *((name, c_long) for name in ("heads", "width")),
    )


class Scratch(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("projections", "context", "attended", "wide", "row_scales", "attention", "q")),
        ("each", c_long),
    )


class DropoutLayout(ctypes.Structure):
    _fields_ = (("seed", c_ulong), ("least", c_int), ("scale", c_float))


class AttentionLayout(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("q", "k", "v", "y", "starts_q", "starts_k")),
        *((name, c_long) for name in ("q_stride", "k_stride", "v_stride")),
        *((name, c_long) for name in ("tokens_q", "tokens_k", "texts", "heads", "width")),
        ("log_sums", c_void_p),
        ("dropout", POINTER(DropoutLayout)),
    )


class GradientLayout(ctypes.Structure):
    _fields_ = (("forward", AttentionLayout), *((name, c_void_p) for name in ("dy", "dq", "dk", "dv")))


# what the compiled library says of its own
SIZES = ctypes.sizeof(BlockLayout) + 1000 * (ctypes.sizeof(Scratch) + 1000 * ctypes.sizeof(GradientLayout))
