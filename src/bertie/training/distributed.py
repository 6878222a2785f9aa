"""The processes of torchrun that train one model together: joining them, and exchanging values."""

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
# Long, because all wait while the first process evaluates; a process that dies is noticed at once by its connection.
TIMEOUT = datetime.timedelta(hours=1)
# Marks of errors by gloo and NCCL, which are plain RuntimeErrors.
_PEER_LOST = re.compile(r"\bgloo\b|NCCL|ProcessGroup")


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
            "start one process per GPU (torchrun --nproc-per-node)."
        )
    return torch.device("cuda", number)


@contextmanager
def processes(device: torch.device) -> Iterator["Processes"]:
    """Join the process group within the block, gloo on CPU and NCCL on CUDA."""
    if world_size() == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    is_owner = not _is_joined()
    with peer_errors_explained():
        if is_owner:
            backend = "nccl" if device.type == "cuda" else "gloo"
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                store, rank, world = next(rendezvous("env://", timeout=TIMEOUT))
                store = _fresh_store(store, rank, world)
                dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=TIMEOUT)
            else:
                dist.init_process_group(backend, timeout=TIMEOUT)
        control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), control)
    finally:
        if is_owner:
            dist.destroy_process_group()


class Processes:
    """The process group: this is process ``rank`` of ``world``. With one process, methods return their arguments."""

    def __init__(self, rank: int, world: int, control: ProcessGroup | None) -> None:
        self.rank, self.world = rank, world
        self.control = control  # a gloo group for values on the host, which needs no synchronisation with a device

    def sum(self, numbers: Tensor) -> Tensor:
        """Sum numbers over all processes, in place on their device."""
        if self.world > 1:
            with peer_errors_explained():
                dist.all_reduce(numbers)
        return numbers

    def maximum(self, *numbers: int) -> list[int]:
        """Return the maximum of each number over all processes."""
        if self.world == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        with peer_errors_explained():
            dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self.control)
        return found.tolist()

    def broadcast(self, value: Value) -> Value:
        """Return the first process's value."""
        values = [value]
        if self.world > 1:
            with peer_errors_explained():
                dist.broadcast_object_list(values, 0, group=self.control)
        return values[0]

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, by rank."""
        values = [value] * self.world
        if self.world > 1:
            with peer_errors_explained():
                dist.all_gather_object(values, value, group=self.control)
        return values

    @torch.no_grad()
    def broadcast_model(self, model: nn.Module) -> None:
        """Copy the first process's weights and buffers to all processes."""
        if self.world > 1:
            with peer_errors_explained():
                for tensor in (*model.parameters(), *model.buffers()):
                    dist.broadcast(tensor.detach(), 0)
                    torch.autograd.graph.increment_version(tensor)


ALONE = Processes(0, 1, None)


@contextmanager
def peer_errors_explained(only_lost: bool = False) -> Iterator[None]:
    """Explain the failure of another process in one sentence; ``only_lost``: let other errors pass through."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if only_lost and not (isinstance(error, dist.DistError) or _PEER_LOST.search(str(error))):
            raise
        first = str(error).strip().partition("\n")[0]
        raise BertieError(
            f"Another process of this training run has ended or does not respond ({first}); see its own message, "
            "and start all of them again, with resume to continue from the last saved state."
        ) from error


def _fresh_store(store: Store, rank: int, world: int) -> Store:
    """Return an empty namespace of torchrun's store, agreed on by all processes."""
    # torchrun keeps its store when it restarts processes, with the addresses of those that are gone (pytorch/pytorch
    # issue 135712). The first process therefore makes up a new name, and hands it out to the others.
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
