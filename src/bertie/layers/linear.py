"""Linear layers at run time: modules are called, or the view of their weights that a kernel prepared once.

A view stands in a weak table beside the modules, never in them: ``state_dict()``, saving, copying, training, hooks and
adapters do not see it, and it is used only while the modules it stands for are plain and their weights unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import is_
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from bertie.capture import capturing, hooks_on_all_modules, observed
from bertie.errors import InputError
from bertie.layers.activations import Activation, NamedActivation, activate_
from bertie.layers.dropout import Dropout
from bertie.layers.int8 import Int8Linear
from bertie.layers.kernels import PLAIN, Kernel, Prepared, Weights, choose, explain
from bertie.memory import drop_pages, give_back_freed


def linear(x: Tensor, module: nn.Module) -> Tensor:
    """Return ``module(x)``: ``[..., in]`` to ``[..., out]``."""
    rows = _rows(x)
    view = _fitting_view(rows, (module,))
    return module(x) if view is None else _like(x, view.prepared(rows))


def linears(x: Tensor, *modules: nn.Module) -> tuple[Tensor, ...]:
    """Return ``module(x)`` of each module; one product serves them all where that pays."""
    rows = _rows(x)
    view = _fitting_view(rows, modules)
    if view is None:
        return tuple(module(x) for module in modules)
    return _like(x, view.prepared(rows)).split(view.widths, dim=-1)


def linear_activated(x: Tensor, module: nn.Module, activation: Activation) -> Tensor:
    """Return ``activation(module(x))``."""
    plain = activation
    if type(activation) is NamedActivation:
        if has_hooks(activation) or hooks_on_all_modules():
            return activation(linear(x, module))
        plain = activation.function
    rows = _rows(x)
    view = _fitting_view(rows, (module,))
    if view is not None:
        return _like(x, view.prepared.activated(rows, plain))
    product = module(x)
    return activate_(product, plain) if _is_ours(module) else activation(product)


def linear_added(x: Tensor, module: nn.Module, dropout: nn.Module, residual: Tensor) -> Tensor:
    """Return ``dropout(module(x)) + residual``."""
    if not _is_idle(dropout):
        return dropout(module(x)) + residual
    rows = _rows(x)
    view = _fitting_view(rows, (module,))
    if view is not None and residual.dtype == x.dtype and residual.shape == (*x.shape[:-1], *view.widths):
        return _like(x, view.prepared.added(rows, _rows(residual)))
    product = module(x)
    return product.add_(residual) if _is_ours(module) and product.dtype == residual.dtype else product + residual


def _rows(x: Tensor) -> Tensor:
    """Return ``x [..., in]`` as ``[T, in]``, which is what prepared weights take."""
    return x.flatten(0, -2) if x.dim() > 2 else x


def _like(x: Tensor, product: Tensor) -> Tensor:
    """Return the ``product [T, out]`` of the rows of ``x`` with the leading dimensions of ``x``."""
    return product.view(*x.shape[:-1], product.shape[-1]) if x.dim() > 2 else product


def make_deterministic(*models: nn.Module) -> None:
    """Have every linear layer of ``models`` computed, from now on, so that a row's answer is bitwise its own.

    Raises:
        InputError: no kernel can do that here.
    """
    for module in chain.from_iterable(model.modules() for model in models):
        if type(module) is nn.Linear or type(module) is Int8Linear:
            weights = Weights(module.weight.device.type, module.weight.dtype, deterministic=True)
            if choose(weights) is None:
                raise InputError(f"deterministic=True cannot be kept here, no kernel can do it:\n{explain(weights)}")
            vars(module)[_DETERMINISTIC] = True  # kept by copies, unlike a view
            for view in _VIEWS.pop(module, {}).values():
                view.is_retired = True


def is_deterministic(module: nn.Module) -> bool:
    """Whether `make_deterministic` was asked for this layer."""
    return _DETERMINISTIC in vars(module)


# The first of the modules that a view stands for -> how many they are -> the view: queries are projected together with
# keys and values, or, where first tokens alone are computed, without.
_VIEWS: "WeakKeyDictionary[nn.Module, dict[int, View]]" = WeakKeyDictionary()
_PREPARING = RLock()
_DETERMINISTIC = "deterministic"


@dataclass(eq=False)
class View:
    """Weights that a kernel prepared, and how the tensors were that they were made from.

    ``is_retired``: another has taken its place, or will.
    """

    prepared: Prepared
    kernel: Kernel
    dtype: torch.dtype  # of its inputs
    depth: int
    widths: list[int]
    modules: tuple[ref[nn.Module], ...]
    stamp: "Stamp"
    is_retired: bool = False

    def stands_for(self, modules: tuple[nn.Module, ...]) -> bool:
        return (
            len(modules) == len(self.modules)
            and all(own() is module for own, module in zip(self.modules, modules, strict=True))
            and self.stamp.holds(modules)
        )


class Stamp:
    """How the weights of modules were when they were prepared."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        tensors = tensors_of(modules)
        self.tensors = [ref(each) for each in tensors]
        self.places, self.versions = _places(tensors), _versions(tensors)
        # Adapters are merged by ``weight.data += …``, which no version counts: a few of its numbers tell. They stand in
        # two places only, because each brings back pages of a mapped file that its view has made needless.
        self.looked_at = [piece for each in tensors for piece in _start_and_middle(each)]
        self.seen = b"".join(self.looked_at)

    def holds(self, modules: Sequence[nn.Module]) -> bool:
        """Whether the weights of ``modules``, in the same order, are the same and unchanged."""
        tensors = tensors_of(modules)
        return (
            len(tensors) == len(self.tensors)
            and all(map(is_, [each() for each in self.tensors], tensors))
            and self.versions == _versions(tensors)
            and self.places == _places(tensors)
            and b"".join(self.looked_at) == self.seen
        )


def _places(tensors: Sequence[Tensor]) -> list[int]:
    return [each.data_ptr() for each in tensors]


def _versions(tensors: Sequence[Tensor]) -> list[int]:
    return [each._version for each in tensors]


def _start_and_middle(tensor: Tensor) -> tuple[memoryview, memoryview]:
    numbers = tensor.detach().view(torch.uint8).reshape(-1).numpy().data
    middle = len(numbers) // 2
    return numbers[:32], numbers[middle : middle + 32]


def prepared_view(x: Tensor, modules: tuple[nn.Module, ...]) -> View | None:
    """Return the view that may stand for calling ``modules`` on inputs like ``x``, or None if they must be called.

    Of ``x`` all counts but its width.
    """
    first = modules[0]
    weight = first._parameters.get("weight")
    if weight is None or capturing() or _would_be_missed(x, modules):
        return None
    kernel = choose(Weights(x.device.type, weight.dtype, is_deterministic(first), torch.get_num_threads()))
    view = _known(first, len(modules))
    # what is prepared already serves where the plain product would do: the weights are in memory once
    if view is not None and kernel in (view.kernel, PLAIN) and view.dtype is x.dtype and view.stands_for(modules):
        return view
    if kernel is None or (kernel is PLAIN and view is None):
        return None
    with _PREPARING:  # threads that compute batches of their own need one view, not one each
        if _known(first, len(modules)) is not view:
            return prepared_view(x, modules)
        if view is not None:
            view.is_retired = True
            del _VIEWS[first][len(modules)]  # its memory first
        if kernel is PLAIN or not _can_be_prepared(x, modules, kernel.takes):
            return None
        view = _made(kernel, x, modules)
        _VIEWS.setdefault(first, {})[len(modules)] = view
        return view


def _known(first: nn.Module, count: int) -> View | None:
    return _VIEWS.get(first, {}).get(count)


def _fitting_view(x: Tensor, modules: tuple[nn.Module, ...]) -> View | None:
    """Return the view that may stand for calling ``modules`` on ``x [T, in]``; where it isn't that, they are called."""
    view = prepared_view(x, modules) if x.dim() == 2 else None
    return view if view is not None and x.shape[1] == view.depth else None


def _would_be_missed(x: Tensor, modules: tuple[nn.Module, ...]) -> bool:
    """Whether calling ``modules`` on ``x`` does more than a product: gradients, hooks, a cast, a subclass of tensor."""
    return (
        any(map(has_hooks, modules))
        or type(x) is not Tensor
        or observed()
        or len(x) == 0
        or torch.is_autocast_enabled(x.device.type)
        or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *tensors_of(modules))))
    )


def _can_be_prepared(x: Tensor, modules: tuple[nn.Module, ...], kind: type[nn.Module]) -> bool:
    """Whether ``modules`` are plain layers with weights of their own, which a kernel can read."""
    tensors = tensors_of(modules)
    return (
        all(type(module) is kind for module in modules)
        and all(type(each) is nn.Parameter and each.is_contiguous() for each in tensors)
        and all(each.dtype in (x.dtype, torch.int8) for each in tensors)
        and not any(each.is_inference() for each in tensors)  # these do not count their versions
    )


@torch.no_grad()
def _made(kernel: Kernel, x: Tensor, modules: tuple[Any, ...]) -> View:
    stamp = Stamp(modules)
    widths = [len(module.weight) for module in modules]
    prepared = kernel.prepare(modules)
    for module in modules:  # what is mapped is in memory once: as the kernel prepared it
        drop_pages(module.weight.data_ptr(), module.weight.nbytes)
    give_back_freed()  # what the kernel made on the way is as large as the weights
    return View(prepared, kernel, x.dtype, modules[0].weight.shape[1], widths, tuple(map(ref, modules)), stamp)


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Whether something besides ``forward`` runs, or another ``forward``, when ``module`` is called."""
    own = vars(module)
    return "forward" in own or any(own[name] for name in HOOKS)


def _is_ours(module: nn.Module) -> bool:
    """Whether no one else can hold on to what ``module`` just returned, so that it may be changed in place.

    The output of the first feed-forward layer is the largest tensor of a batch; without this it is there twice.
    """
    return not torch.is_grad_enabled() and type(module) is nn.Linear and not has_hooks(module) and not observed()


def _is_idle(dropout: nn.Module) -> bool:
    if type(dropout) is not Dropout and type(dropout) is not nn.Dropout:
        return False
    return not (dropout.training and dropout.p > 0) and not has_hooks(dropout) and not hooks_on_all_modules()


def tensors_of(modules: Sequence[nn.Module]) -> list[Tensor]:
    """Return the parameters of modules that have no modules within."""
    return [tensor for module in modules for tensor in module._parameters.values() if tensor is not None]
