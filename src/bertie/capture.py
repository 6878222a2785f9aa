"""PyTorch's context of a call: graph capture, modes, function transforms, and hooks."""

from bertie.extras import need_torch

need_torch(__name__)

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_tracing() -> bool:
    """Whether a graph is being captured (compiled, exported, traced): shapes are then known, but values are not."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def has_hooks(module: nn.Module) -> bool:
    """Whether calling ``module`` runs hooks, or a ``forward`` that was replaced on the instance."""
    own = vars(module)
    return "forward" in own or any(own[name] for name in HOOKS)


@contextmanager
def keep_modes(model: nn.Module) -> Iterator[None]:
    """Restore each module's mode, training or evaluation, after the block."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def is_intercepted() -> bool:
    """Whether a capture, mode, transform or global hook needs to see PyTorch's operators, which kernels bypass."""
    return (
        is_tracing()
        or torch.nn.modules.module._has_any_global_hook()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch.autograd.forward_ad._current_level >= 0
    )
