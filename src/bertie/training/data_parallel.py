"""A model on several devices: whole on each (DDP), or in shards (FSDP2); gradients are summed during the backward pass.

Both average over the processes, so that each multiplies its loss by their number: a step's loss is a sum.
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
    """A learner's loss as a module: PyTorch wraps this one, so that the model keeps its class and its names."""

    learner: Learner

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, examples: Sequence[int]) -> Tensor:
        return self.learner.loss(examples)


class DataParallel:
    """How one of the processes computes gradients; with one process alone nothing is exchanged."""

    is_last = False  # whether what is computed next is the last micro-batch of a step
    exchanges = False  # whether the others wait for what is computed now, so that it cannot be computed again

    def __init__(self, model: nn.Module, group: Processes) -> None:
        self.group, self._loss = group, LossModule(model)

    def set_learner(self, learner: Learner) -> None:
        """Take the losses of this learner of the model from now on."""
        self._loss.learner = learner

    def loss(self, examples: Sequence[int]) -> Tensor:
        return self._loss(examples)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of its loss; after the last of a step they are those of all processes."""
        loss.backward()

    def total_norm(self, gradients: Iterable[Tensor]) -> Tensor:
        """Return the norm of all gradients together, ``[]``."""
        return torch.nn.utils.get_total_norm(gradients)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Gather the whole model in the first process within the block, which all processes enter."""
        yield

    def finish(self) -> None:
        """Leave the model whole in every process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Replicas(DataParallel):
    """The whole model in each process: buckets of gradients are summed as soon as the backward pass has filled them."""

    def __init__(self, model: nn.Module, group: Processes) -> None:
        super().__init__(model, group)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # PyTorch 2.11 has no other name
            # a parameter that no process has used has no gradient afterwards, as with one process
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
    """Each process keeps some rows of every parameter, gradient and moment; layers are gathered when they compute."""

    exchanges = True

    def __init__(self, model: nn.Module, group: Processes, device: torch.device) -> None:
        super().__init__(model, group)
        self._parameters = dict(model.named_parameters())  # as they were; without numbers while there are shards
        # between these two the model changes in place: as it was, and with fully_shard's classes and hooks
        self._plain = _attributes_of(model)
        for module in self._plain:
            vars(module).update({name: value.copy() for name, value in vars(module).items() if isinstance(value, dict)})
        # nothing changes what a layer returns in place
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
        with peer_errors_explained():
            _shard(self._loss, device, group.world)
        self._sharded = _attributes_of(model)
        self.parameters = dict(model.named_parameters())
        self._empty()

    def loss(self, examples: Sequence[int]) -> Tensor:
        with peer_errors_explained(only_lost=True):
            loss = super().loss(examples)
            if not torch.is_grad_enabled():  # no backward pass divides the parameters again
                self._loss.reshard()  # type: ignore[operator]
        return loss

    def backward(self, loss: Tensor) -> None:
        with peer_errors_explained(only_lost=True):
            super().backward(loss)

    def total_norm(self, gradients: Iterable[Tensor]) -> Tensor:
        """Return the norm of the gradients of all processes, each of which has its own rows of them."""
        squares = super().total_norm(gradients).square()
        with peer_errors_explained():
            dist.all_reduce(squares)
        return squares.sqrt()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Make the model as it was within the block, its parameters gathered in the first process."""
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
        _restore(self._plain)  # without its numbers, unless the run has come to its end

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
            given = spelled("shard", True)
            logger.warning("%s divides a model among the processes of torchrun; with one it has no effect.", given)
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
    from torch.distributed.fsdp import fully_shard  # imports many modules, which nothing else needs

    mesh = init_device_mesh(device.type, (world,))
    for name, module in list(root.named_modules()):
        if _LAYER.search(name):
            fully_shard(module, mesh=mesh)
    fully_shard(root, mesh=mesh)
