"""Similarities of vectors, for arrays and tensors. Letters: N and M vectors, D dimensions."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bertie.errors import InputError
from bertie.extras import loaded, need

# for the cosine, of normalized vectors
_SIMILARITIES: dict[str, Callable[[Any, Any], Any]] = {
    "cosine": lambda one, other: (one * other).sum(-1),
    "dot": lambda one, other: (one * other).sum(-1),
    "euclidean": lambda one, other: -(((one - other) ** 2).sum(-1) ** 0.5),
    "manhattan": lambda one, other: -abs(one - other).sum(-1),
}


def similarity_rows(name: str, ones: Any, others: Any) -> Iterable[Any]:
    """Return for each first vector ``[N, D]`` its similarities ``[M]`` to the second ones ``[M, D]``."""
    if name in ("cosine", "dot"):
        return (others @ ones.T).T
    return (_SIMILARITIES[name](one, others) for one in ones)


def similarities(name: str, ones: Any, others: Any) -> Any:
    """Return the similarity of each first vector to each second one, float32 ``[N, M]``."""
    first, second = _rows(name, ones, others)
    found = similarity_rows(name, first, second)
    if not isinstance(found, Iterator):  # computed as one matrix product
        return found
    rows = list(found)
    return np.stack(rows) if isinstance(first, np.ndarray) else need("torch", "torch").stack(rows)


def pairwise_similarities(name: str, ones: Any, others: Any) -> Any:
    """Return the similarity of each first vector to the second one at the same index, float32 ``[N]``.

    Two single vectors ``[D]`` give a single number.
    """
    first, second = _rows(name, ones, others)
    if len(first) != len(second):
        raise InputError(f"There are {len(first)} first vectors and {len(second)} second ones; give as many of both.")
    found = _SIMILARITIES[name](first, second)
    return found[0] if all(getattr(given, "ndim", 2) == 1 for given in (ones, others)) else found


def _rows(name: str, *given: Any) -> list[Any]:
    """Return vectors as float32 ``[N, D]``, all as tensors if any is one; normalized for the cosine."""
    torch = loaded("torch")
    some = [one for each in given for one in (each if isinstance(each, list) else [each])]
    if torch is not None and any(isinstance(one, torch.Tensor) for one in some):
        stacked = [torch.stack(list(map(torch.as_tensor, one))) if isinstance(one, list) else one for one in given]
        rows = [torch.as_tensor(one).float() for one in stacked]
    else:
        rows = [np.asarray(one, np.float32) for one in given]
    rows = [one[None] if one.ndim == 1 else one for one in rows]
    if name != "cosine":
        return rows
    return [one / ((one * one).sum(-1, keepdims=True) ** 0.5).clip(min=1e-12) for one in rows]
