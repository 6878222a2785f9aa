"""A model on several devices: replicated (DDP) or sharded (FSDP2); gradients are reduced during the backward pass.

Both average over the processes, so each multiplies its loss by their number: a step's loss is a sum.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bertie.errors import spelled
from bertie.progress import logger
from bertie.training.distributed import Processes, peer_errors_explained
from bertie.training.learner import Learner

_LAYER = re.compile(r"(^|\.)encoder\.layer\.\d+$")


class LossModule(nn.Module):
    """A learner's loss as a module, which PyTorch wraps instead of the model: that keeps its class and names."""

    learner: Learner

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, examples: Sequence[int]) -> Tensor:
        return self.learner.loss(examples)


class DataParallel:
    """How a process computes gradients; this base class is for a single process, which exchanges nothing."""

    is_last = False  # whether the next micro-batch is the last of a step
    exchanges = False  # whether other processes take part in the current computation, so that it cannot be retried

    def __init__(self, model: nn.Module, group: Processes) -> None:
        self.group, self._loss = group, LossModule(model)

    def set_learner(self, learner: Learner) -> None:
        """Use the losses of this learner from now on."""
        self._loss.learner = learner

    def loss(self, examples: Sequence[int]) -> Tensor:
        return self._loss(examples)

    def backward(self, loss: Tensor) -> None:
        """Accumulate gradients; after the last micro-batch of a step they are reduced over all processes."""
        loss.backward()

    def total_norm(self, gradients: Iterable[Tensor]) -> Tensor:
        """Return the norm of all gradients together, ``[]``."""
        return torch.nn.utils.get_total_norm(gradients)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Gather the whole model in the first process within the block, which all processes enter."""
        yield

    def finish(self) -> None:
        """Gather the whole model in every process, at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Replicas(DataParallel):
    """The whole model in each process: buckets of gradients are reduced as soon as the backward pass fills them."""

    def __init__(self, model: nn.Module, group: Processes) -> None:
        super().__init__(model, group)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # PyTorch 2.11 has no replacement
            # with find_unused_parameters, a parameter that no process used has no gradient, as with one process
            self._replica = DistributedDataParallel(
                self._loss,
                broadcast_buffers=False,
                init_sync=False,
                find_unused_parameters=True,
                gradient_as_bucket_view=True,
            )

    def loss(self, examples: Sequence[int]) -> Tensor:
        with nullcontext() if self.is_last else self._replica.no_sync(), peer_errors_explained(only_lost=True):
            return self._replica(examples)

    def backward(self, loss: Tensor) -> None:
        self.exchanges = self.is_last
        with peer_errors_explained(only_lost=True):
            loss.backward()
        self.exchanges = False


class Shards(DataParallel):
    """Each process keeps some rows of every parameter, gradient and moment; layers are gathered to be computed."""

    exchanges = True

    def __init__(self, model: nn.Module, group: Processes, device: torch.device) -> None:
        super().__init__(model, group)
        self._parameters = dict(model.named_parameters())  # the original ones; empty while the model is sharded
        # the model is switched in place between these two: as it was, and with fully_shard's classes and hooks
        self._plain = _attributes_of(model)
        for module in self._plain:
            vars(module).update({name: value.copy() for name, value in vars(module).items() if isinstance(value, dict)})
        # safe, as nothing modifies a layer's output in place
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
        with peer_errors_explained():
            _shard(self._loss, device, group.world)
        self._sharded = _attributes_of(model)
        self.parameters = dict(model.named_parameters())
        self._empty()

    def loss(self, examples: Sequence[int]) -> Tensor:
        with peer_errors_explained(only_lost=True):
            loss = super().loss(examples)
            if not torch.is_grad_enabled():  # otherwise the backward pass reshards
                self._loss.reshard()  # type: ignore[operator]
        return loss

    def backward(self, loss: Tensor) -> None:
        with peer_errors_explained(only_lost=True):
            super().backward(loss)

    def total_norm(self, gradients: Iterable[Tensor]) -> Tensor:
        """Return the norm over all processes, each of which has some rows of the gradients."""
        squares = super().total_norm(gradients).square()
        with peer_errors_explained():
            dist.all_reduce(squares)
        return squares.sqrt()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Restore the original model within the block, with its parameters gathered in the first process."""
        self._gather(self.group.rank == 0)
        _restore(self._plain)
        try:
            yield
        finally:
            _restore(self._sharded)
            self._empty()

    def finish(self) -> None:
        self._gather(True)
        _restore(self._plain)

    def __exit__(self, *_: object) -> None:
        _restore(self._plain)  # with empty parameters, unless `finish` was called

    @torch.no_grad()
    def _gather(self, keep: bool) -> None:
        with peer_errors_explained():
            for name, parameter in self.parameters.items():
                whole = parameter.full_tensor()  # type: ignore[attr-defined]
                if keep:
                    self._parameters[name].data = whole

    def _empty(self) -> None:
        for parameter in self._parameters.values():
            parameter.data = parameter.data.new_empty(0)


def data_parallel(model: nn.Module, group: Processes, device: torch.device, shard: bool) -> DataParallel:
    if group.world == 1:
        if shard:
            option = spelled("shard", True)
            logger.warning("%s shards a model over the processes of torchrun; with one it has no effect.", option)
        return DataParallel(model, group)
    return Shards(model, group, device) if shard else Replicas(model, group)


_Attributes = dict[nn.Module, tuple[type[nn.Module], dict[str, Any]]]


def _attributes_of(model: nn.Module) -> _Attributes:
    """Return the class and the attributes of each module."""
    return {each: (type(each), dict(vars(each))) for each in model.modules()}


def _restore(modules: _Attributes) -> None:
    for module, (kind, attributes) in modules.items():
        module.__class__ = kind
        vars(module).clear()
        vars(module).update(attributes)


def _shard(root: nn.Module, device: torch.device, world: int) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # imported here, as it imports many modules

    mesh = init_device_mesh(device.type, (world,))
    for name, module in list(root.named_modules()):
        if _LAYER.search(name):
            fully_shard(module, mesh=mesh)
    fully_shard(root, mesh=mesh)
