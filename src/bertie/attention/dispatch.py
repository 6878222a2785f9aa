"""``attend``: attention by the first backend without an objection, and the explanation of that choice."""

from functools import lru_cache

from torch import Tensor

from bertie.attention.cache_layer import CachedKeys
from bertie.attention.dense import Dense
from bertie.attention.flash_varlen import Varlen
from bertie.attention.grouped import Grouped
from bertie.attention.native import Native
from bertie.attention.request import Backend, Inputs, Request, ScoreBias
from bertie.errors import InputError
from bertie.packing import Packed

BACKENDS: tuple[Backend, ...] = (Varlen(), Native(), Grouped(), Dense())


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packed: Packed,
    *,
    keys: Packed | CachedKeys | None = None,
    causal: bool = False,
    dropout_p: float = 0.0,
    score_bias: ScoreBias | None = None,
    weights: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention of packed tokens, each within its own text (arXiv 1706.03762, section 3.2.1).

    Queries ``[T, H, K]`` belong to ``packed``. Keys and values, packed ``[T_keys, H, K]`` or a cache's rectangle
    ``[B, H, S_keys, K]``, belong to ``keys`` if that is given. Returns the context ``[T, H, K]`` and, if requested, the
    weights ``[B, H, S, S_keys]`` after softmax and dropout, which are 0 for padding queries.
    """
    keys = packed if keys is None else keys
    inputs = Inputs(q, k, v, packed, keys, causal, dropout_p, score_bias, weights)
    request = inputs.request
    # lru_cache cannot be captured in a graph, which chooses only once anyway.
    chosen = (choose if request.compiling else _choose_cached)(request, backend)
    return chosen.attend(inputs)


def choose(request: Request, name: str | None = None) -> Backend:
    """Return the first backend without an objection to ``request``, or the one called ``name`` if it has none."""
    considered = candidates(name)
    for backend in considered:
        if not backend.why_not(request):
            return backend
    raise InputError("No attention backend can serve this call:\n" + explain(request, considered))


_choose_cached = lru_cache(maxsize=256)(choose)


def candidates(name: str | None = None) -> tuple[Backend, ...]:
    """Return the backends to consider: all, or the one called ``name``."""
    known = [backend.name for backend in BACKENDS]
    if name is not None and name not in known:
        raise InputError(f"There is no attention backend {name!r}; choose one of {', '.join(known)}.")
    return tuple(backend for backend in BACKENDS if name in (None, backend.name))


def explain(request: Request, backends: tuple[Backend, ...] = BACKENDS) -> str:
    """Return one line a backend: chosen, able, or all its objections."""
    lines, chosen = [], False
    for backend in backends:
        objections = backend.why_not(request)
        verdict = "; ".join(objections) if objections else ("able, not needed" if chosen else "chosen")
        chosen = chosen or not objections
        lines.append(f"{backend.name:<8}  {verdict}")
    return "\n".join(lines)
