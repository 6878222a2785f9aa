"""Several processes that train one model: what torchrun starts, joined to a sum of gradients and a common decision.

Gradients are summed by ``all_reduce`` after the last micro-batch instead of by DistributedDataParallel, which averages,
wants equally many backward passes in every process, and must be told of parameters that a step does not use.
"""

import datetime
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bertie.errors import BertieError, InputError

Value = TypeVar("Value")
# Long, because all wait while the first process evaluates; one that has died is noticed at once by its connection.
TIMEOUT = datetime.timedelta(hours=1)


def world_size() -> int:
    """Return the number of processes that torchrun (or the caller) started."""
    return dist.get_world_size() if _is_joined() else _from_environment("WORLD_SIZE", 1)


def is_first() -> bool:
    """Whether this process is the one that writes files and reports."""
    return (dist.get_rank() if _is_joined() else _from_environment("RANK", 0)) == 0


def local_device() -> torch.device:
    """Return the device of this process: a GPU of its own, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = _from_environment("LOCAL_RANK", 0)
    if number >= torch.cuda.device_count():
        raise InputError(
            f"Process {number} of this machine has no GPU: {torch.cuda.device_count()} are visible; "
            "start one process a GPU (torchrun --nproc-per-node)."
        )
    return torch.device("cuda", number)


@contextmanager
def processes(device: torch.device) -> Iterator["Processes"]:
    """Join the processes that were started together, gloo on CPU and NCCL on CUDA; leave them after the block."""
    if world_size() == 1:
        yield Processes(0, 1, None)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    ours = not _is_joined()
    with _others_answer():
        if ours:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), control)
    finally:
        if ours:
            dist.destroy_process_group()


class Processes:
    """This process among all: ``rank`` of ``world``. With one process every method gives back what it got."""

    def __init__(self, rank: int, world: int, control: "dist.ProcessGroup | None") -> None:
        self.rank, self.world = rank, world
        self._control = control  # numbers that are on the host stay there: no device is waited for

    def sum_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Replace every gradient by its sum over all processes, and return the sum of their ``loss []``.

        A parameter that no process has used has no gradient afterwards, as with one process.
        """
        if self.world == 1:
            return loss
        used = [parameter.grad is not None for parameter in parameters]
        small = torch.cat([loss.reshape(1).float(), torch.tensor(used, dtype=torch.float32).to(loss.device)])
        for parameter in parameters:
            parameter.grad = (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).contiguous()
        with _others_answer():
            # all at once: gathering them in large buckets copies them twice, and took three times as long over gloo
            for work in [dist.all_reduce(each, async_op=True) for each in (small, *(one.grad for one in parameters))]:
                work.wait()
        if not all(used):
            for parameter, users in zip(parameters, small[1:].tolist(), strict=True):
                if not users:
                    parameter.grad = None
        return small[0]

    def highest(self, *numbers: int) -> list[int]:
        """Return, for each number, the highest that any process gave."""
        if self.world == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        with _others_answer():
            dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self._control)
        return found.tolist()

    def broadcast(self, value: Value) -> Value:
        """Return the value that the first process gave; what the others gave does not count."""
        values = [value]
        if self.world > 1:
            with _others_answer():
                dist.broadcast_object_list(values, 0, group=self._control)
        return values[0]

    @torch.no_grad()
    def share_model(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""
        if self.world > 1:
            with _others_answer():
                for tensor in (*model.parameters(), *model.buffers()):
                    dist.broadcast(tensor.detach(), 0)
                    torch.autograd.graph.increment_version(tensor)


@contextmanager
def _others_answer() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise BertieError(
            f"Another process of this training run has ended or does not answer ({first}); see its own message, "
            "and start all of them again, with resume to go on from the last saved state."
        ) from error


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _from_environment(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise InputError(f"The environment variable {name} is {text!r}; allowed: a number, as torchrun sets it.")
    return int(text)
