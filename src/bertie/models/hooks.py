"""The observers of a model: hooks, replaced forwards and foreign modules, for which padding is kept.

Machinery that only moves, shards or scales values token by token does not count: PyTorch's distributed wrappers,
accelerate, peft, and bertie's own.
"""

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import torch.nn.modules.module as global_hooks
from torch import nn
from torch.utils.hooks import RemovableHandle

from bertie.capture import HOOKS
from bertie.layers.linear import Linear

# Packages whose hooks, forwards and modules treat tokens independently, or only touch parameters.
_MACHINERY = ("bertie", "accelerate", "peft", "torch.distributed", "torch.nn.parallel", "torch.nn.utils", "torch.utils")
_MACHINERY_OF_MODULES = (*_MACHINERY, "torch.ao", "torch._dynamo", "torch.fx", "abc", "typing", "builtins")
# PyTorch modules that treat tokens independently.
_TOKEN_WISE_NAMES = (
    *("Module", "ModuleList", "ModuleDict", "Sequential", "ParameterList", "ParameterDict", "Identity"),
    *("Linear", "Embedding", "LayerNorm", "RMSNorm", "Dropout", "AlphaDropout"),
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Tanh", "Hardtanh"),
    *("Sigmoid", "Hardsigmoid", "Hardswish", "LogSigmoid", "Softplus", "Softsign"),
)
_TOKEN_WISE: frozenset[Any] = frozenset({Linear, *(getattr(nn, name) for name in _TOKEN_WISE_NAMES)})
# The parts of the reference's models; further direct children of a user-defined model are not checked.
_PARTS = frozenset({"bert", "embeddings", "encoder", "pooler", "cls", "dropout", "classifier", "qa_outputs"})
# Those of the parts that see more than one token.
_SEES_WHOLE_TEXTS = re.compile(r"(^|\.)(bert|embeddings|encoder|pooler|attention|crossattention|self|layer\.\d+)$")
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")


def has_observers(model: nn.Module) -> bool:
    """Whether ``model`` has observers, so that its parts must see rectangles; called before every batch."""
    known = _KNOWN.get(model)
    if known is not None and known.holds():
        return False
    if next(observers(model), None) is not None:
        return True
    _KNOWN[model] = _Unobserved.of(model)
    return False


def observers(model: nn.Module) -> Iterator[str]:
    """Yield a line for each observer of ``model``: its kind, origin and place."""
    for name in _GLOBAL_HOOKS:
        for hook in getattr(global_hooks, name).values():
            if not _is_from(_origin(hook), _MACHINERY):
                yield f"a hook of {_origin(hook)} on all modules"
    for path, module in _parts(model):
        for name in HOOKS:
            for hook in vars(module)[name].values():
                if not _is_from(_origin(hook), _MACHINERY):
                    yield f"a {name.strip('_').removesuffix('s').replace('_', ' ')} of {_origin(hook)} on {path}"
        forward = vars(module).get("forward")
        if forward is not None and not _is_from(_origin(forward), _MACHINERY):
            yield f"another forward, of {_origin(forward)}, in {path}"
        if not _is_known(cast(Any, type(module))) or (type(module) in _TOKEN_WISE and _SEES_WHOLE_TEXTS.search(path)):
            yield f"{type(module).__module__}.{type(module).__qualname__} in the place of {path}"


class _Unobserved(NamedTuple):
    """The parts of a model without observers; checking them all again would take 2 % of a short query's time."""

    # the owner's modules, name, part, and whether its forward is overridden
    parts: list[tuple[dict[str, Any], str, nn.Module, bool]]
    lists: list[tuple[nn.ModuleList, int]]
    hooks_made: int

    @classmethod
    def of(cls, model: nn.Module) -> "_Unobserved":
        parts = [
            (owner._modules, name, part, "forward" in vars(part))
            for owner in (model, *(part for _, part in _parts(model)))
            for name, part in owner._modules.items()
            if part is not None
        ]
        lists = [(part, len(part)) for _, _, part, _ in parts if isinstance(part, nn.ModuleList)]
        return cls(parts, lists, RemovableHandle.next_id)

    def holds(self) -> bool:
        """Whether since then no hook was registered, no module replaced, and no forward wrapped."""
        same_parts = all(
            owner.get(name) is part and ("forward" in vars(part)) is own for owner, name, part, own in self.parts
        )
        same_lists = all(len(each) == length for each, length in self.lists)
        return same_parts and same_lists and self.hooks_made == RemovableHandle.next_id


_KNOWN: "WeakKeyDictionary[nn.Module, _Unobserved]" = WeakKeyDictionary()


def _parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules a batch passes through, with their names: not the model itself, nor parametrizations."""
    for name, child in model.named_children():
        if name in _PARTS or _is_known(cast(Any, type(child))):
            yield from _within(name, child)


def _within(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield path, module
    for name, child in module.named_children():
        if name != "parametrizations":
            yield from _within(f"{path}.{name}", child)


def _origin(function: Any) -> str:
    """Return the Python module that defines a hook or forward; of wrapped ones, the first that is not machinery."""
    origins = []
    while function is not None:
        inner = function.func if isinstance(function, partial) else getattr(function, "__func__", function)
        space = getattr(inner, "__globals__", {"__name__": type(inner).__module__})
        origins.append(str(space.get("__name__")))
        function = getattr(function, "__wrapped__", None)
    return next((each for each in origins if not _is_from(each, _MACHINERY)), origins[0])


def _is_from(origin: str, packages: tuple[str, ...]) -> bool:
    return any(origin == package or origin.startswith(f"{package}.") for package in packages)


@lru_cache(maxsize=1024)
def _is_known(kind: Any) -> bool:
    """Whether a class and all its bases are bertie's or treat tokens independently."""
    return kind in _TOKEN_WISE or (
        _is_from(kind.__module__, _MACHINERY_OF_MODULES) and all(map(_is_known, set(kind.__bases__) - {object}))
    )
