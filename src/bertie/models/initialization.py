"""Initialisation of new weights: each once, never overwriting loaded or initialised ones."""

from collections.abc import Callable, Collection
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_INITIALIZERS = (
    *("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_normal_"),
    *("xavier_uniform_", "orthogonal_", "sparse_", "eye_", "dirac_", "constant_", "zeros_", "ones_"),
    *("zero_", "fill_", "copy_", "bernoulli_", "exponential_", "add_", "sub_", "mul_", "div_", "__setitem__"),
)
# transformers' mark of an initialised module: its models and ours leave each other's weights alone
_MARK = "_is_hf_initialized"
# names of a module's own initialised parameters and buffers; stored on the module, so that copies keep it
_NAMES = "_initialized_names"


class Protected(TorchFunctionMode):
    """Skip in-place initialisers on tensors that must keep their values, and on meta tensors.

    For the latter PyTorch would import its whole compiler, which takes seconds.
    """

    def __init__(self, tensors: Collection[torch.Tensor] = ()) -> None:
        super().__init__()
        self._protected = {tensor.untyped_storage().data_ptr() for tensor in tensors if not tensor.is_meta} - {0}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in _INITIALIZERS:
            target = args[0] if args else kwargs["tensor"]
            if target.is_meta or target.untyped_storage().data_ptr() in self._protected:
                return target
        return func(*args, **kwargs)


def initialize(model: Any) -> None:
    """Call ``_init_weights`` for the new weights of every module, children first; nested models use their own."""
    # meta tensors are not initialised
    if any(parameter.is_meta for parameter in model.parameters()):
        return
    tensors = ((part, name, tensor) for part in model.modules() for name, tensor in _own_tensors(part).items())
    with Protected([tensor for part, name, tensor in tensors if _is_initialized(part, name)]):
        _visit(model, model._init_weights)


def mark_initialized(model: nn.Module, but: Collection[str] = ()) -> None:
    """Mark all weights of a model as initialised, except those named in ``but``."""
    for prefix, module in model.named_modules():
        _mark(module, [name for name in _own_tensors(module) if f"{prefix}.{name}".removeprefix(".") not in but])


def _visit(module: nn.Module, initialize_module: Callable[[nn.Module], Any]) -> None:
    if hasattr(module, "base_model_prefix"):  # a model, bertie's or transformers'
        initialize_module = cast(Any, module)._init_weights
    for child in module.children():
        _visit(child, initialize_module)
    if not hasattr(module, _MARK) or not all(_is_initialized(module, name) for name in _own_tensors(module)):
        initialize_module(module)
        _mark(module, list(_own_tensors(module)))


def _own_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a module's own parameters and buffers, not those of its children."""
    both = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in both.items() if tensor is not None}


def _is_initialized(module: nn.Module, name: str) -> bool:
    names: tuple[str, ...] | None = getattr(module, _NAMES, None)
    return hasattr(module, _MARK) if names is None else name in names


def _mark(module: nn.Module, names: Collection[str]) -> None:
    setattr(module, _MARK, True)
    setattr(module, _NAMES, tuple({*getattr(module, _NAMES, ()), *names}))
