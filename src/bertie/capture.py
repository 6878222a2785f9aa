"""What PyTorch does around a call: graphs that are captured, modes, transforms, hooks on all modules."""

from bertie.extras import need_torch

need_torch(__name__)

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_tracing() -> bool:
    """Whether a graph is being captured (compiled, exported, traced), in which shapes are known but values are not."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def has_hooks(module: nn.Module) -> bool:
    """Whether something besides ``forward`` runs, or another ``forward``, when ``module`` is called."""
    own = vars(module)
    return "forward" in own or any(own[name] for name in HOOKS)


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Give each module, after the block, the mode back that it was in: training or evaluation."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def is_intercepted() -> bool:
    """Whether a capture, mode, vmap or global hook would see a call, and not what is computed past its operators."""
    return (
        is_tracing()
        or torch.nn.modules.module._has_any_global_hook()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch.autograd.forward_ad._current_level >= 0
    )
