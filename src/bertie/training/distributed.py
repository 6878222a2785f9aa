"""Several processes that train one model: what torchrun starts, joined, and agreeing on what all must know."""

import datetime
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, ProcessGroup, Store
from torch.distributed.rendezvous import rendezvous

from bertie.errors import BertieError, InputError

Value = TypeVar("Value")
# Long, because all wait while the first process evaluates; one that has died is noticed at once by its connection.
TIMEOUT = datetime.timedelta(hours=1)
# How gloo and NCCL begin their messages: they raise a RuntimeError like any other.
_LOST = re.compile(r"\bgloo\b|NCCL|ProcessGroup")


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
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    ours = not _is_joined()
    with peer_errors_explained():
        if ours:
            backend = "nccl" if device.type == "cuda" else "gloo"
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                store, rank, world = next(rendezvous("env://", timeout=TIMEOUT))
                store = _of_this_start(store, rank, world)
                dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=TIMEOUT)
            else:
                dist.init_process_group(backend, timeout=TIMEOUT)
        control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), control)
    finally:
        if ours:
            dist.destroy_process_group()


class Processes:
    """This process among all: ``rank`` of ``world``. With one process every method gives back what it got."""

    def __init__(self, rank: int, world: int, control: ProcessGroup | None) -> None:
        self.rank, self.world = rank, world
        self.control = control  # numbers that are on the host stay there: no device is waited for

    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sums of the numbers of all processes, on their device."""
        if self.world > 1:
            with peer_errors_explained():
                dist.all_reduce(numbers)
        return numbers

    def highest(self, *numbers: int) -> list[int]:
        """Return, for each number, the highest that any process gave."""
        if self.world == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        with peer_errors_explained():
            dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self.control)
        return found.tolist()

    def broadcast(self, value: Value) -> Value:
        """Return the value that the first process gave; what the others gave does not count."""
        values = [value]
        if self.world > 1:
            with peer_errors_explained():
                dist.broadcast_object_list(values, 0, group=self.control)
        return values[0]

    def gather(self, value: Value) -> list[Value]:
        """Return the values that all processes gave, in their order."""
        values = [value] * self.world
        if self.world > 1:
            with peer_errors_explained():
                dist.all_gather_object(values, value, group=self.control)
        return values

    @torch.no_grad()
    def share_model(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""
        if self.world > 1:
            with peer_errors_explained():
                for tensor in (*model.parameters(), *model.buffers()):
                    dist.broadcast(tensor.detach(), 0)
                    torch.autograd.graph.increment_version(tensor)


ALONE = Processes(0, 1, None)


@contextmanager
def peer_errors_explained(only_lost: bool = False) -> Iterator[None]:
    """Say in one sentence that another process has ended; ``only_lost`` lets errors of other kinds pass through."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if only_lost and not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
            raise
        first = str(error).strip().partition("\n")[0]
        raise BertieError(
            f"Another process of this training run has ended or does not answer ({first}); see its own message, "
            "and start all of them again, with resume to go on from the last saved state."
        ) from error


def _of_this_start(store: Store, rank: int, world: int) -> Store:
    """Return a part of torchrun's store that is empty."""
    # torchrun keeps it when it starts the processes again, with the addresses of those that are gone (pytorch/pytorch
    # issue 135712): what is answered here bears a name that none of them knew
    name = uuid4().hex
    if rank > 0:
        store.set(f"bertie/hello/{rank}", name)
        start = store.get(f"bertie/welcome/{name}").decode()
        store.set(f"bertie/{start}/{rank}", "here")
        return PrefixStore(start, store)
    for other in range(1, world):
        while not store.check([f"bertie/{name}/{other}"]):
            if store.check([hello := f"bertie/hello/{other}"]):
                store.set(f"bertie/welcome/{store.get(hello).decode()}", name)
            time.sleep(0.01)
    return PrefixStore(name, store)


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _from_environment(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise InputError(f"The environment variable {name} is {text!r}; allowed: a number, as torchrun sets it.")
    return int(text)
