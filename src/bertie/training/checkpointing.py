"""Where a run keeps what it must not lose: in a folder, or, without one, the best weights in memory."""

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from bertie.errors import CheckpointError, InputError
from bertie.progress import logger
from bertie.settings import Settings
from bertie.training.distributed import Processes
from bertie.training.evaluating import warn
from bertie.training.fingerprint import Fingerprint, goes_on_with, refuse_other
from bertie.training.history import History
from bertie.training.optimizer import AdamW
from bertie.training.param_groups import restore, snapshot
from bertie.training.state import States


class Checkpointer:
    """Saves and brings back one run; with several processes the first one writes what all have."""

    def __init__(self, folder: Path | None, fingerprint: Fingerprint, settings: Settings, group: Processes) -> None:
        self._states = None if folder is None else States(folder, group)
        self.where = str(folder)  # for messages
        self._fingerprint, self._settings, self._writes = fingerprint, settings, group.rank == 0
        self._best: dict[str, Tensor] = {}
        self._saved: tuple[int, ...] = ()
        self._saved_at = time.monotonic()
        self.seconds = 0.0  # that the last state took

    def resume(self, model: nn.Module, optimizer: AdamW, wanted: bool) -> History | None:
        """Bring model and optimiser to where the run was left, and return its history; None: a new run begins."""
        if self._states is None:
            if wanted:
                raise InputError("resume needs the folder in which the run keeps its state; give folder.")
            return None
        if not wanted:
            if self._states.exist():
                raise InputError(
                    f"{self.where!r} holds the state of a run; resume it, or give another folder or remove this one."
                )
            return None
        saved = self._states.load(dict(model.named_parameters()))
        if saved is None:
            return None
        refuse_other(saved.identity, self._fingerprint, self.where)
        try:
            history = History.from_dict(saved.history)
            restore(model, saved.model)
            optimizer.load(saved.optimizer)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"the training state in {self.where!r} lacks {error}; start the run anew, without resume"
            ) from error
        self._saved = _mark(history)
        if sentence := goes_on_with(saved.identity, self._fingerprint):
            warn(history, sentence)
        logger.info("The run in %r goes on after step %d.", self.where, history.step)
        return history

    def is_due(self, step: int) -> bool:
        """Whether the steps or the time since the last save ask for another."""
        if self._states is None:
            return False
        every, minutes = self._settings.save_every, self._settings.save_minutes
        by_time = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        return by_time or (every is not None and step % every == 0)

    def keep(self, model: nn.Module, optimizer: AdamW, history: History) -> bool:
        """Save the run as it is, unless that is saved already; return whether it lies in a folder."""
        if self._states is None:
            return False
        if self._saved != _mark(history):
            parameters = dict(model.named_parameters())
            self._states.save(self._fingerprint, history.to_dict(), snapshot(model), optimizer.tensors(), parameters)
        elif self._writes:
            self._states.tidy(history.best_step)  # it may have been killed between saving and that
        self._saved, self._saved_at = _mark(history), time.monotonic()
        return True

    def keep_best(self, model: nn.Module, step: int) -> None:
        """Keep the weights as they are as the best so far."""
        if not self._writes:
            return
        if self._states is not None:
            self._states.save_best(step, snapshot(model))
        else:
            self._best = {name: tensor.cpu().clone() for name, tensor in snapshot(model).items()}

    def restore_best(self, model: nn.Module, step: int) -> None:
        """Bring the best weights back into the model of the process that writes."""
        if self._writes:
            restore(model, self._best if self._states is None else self._states.load_best(step))


def _mark(history: History) -> tuple[int, ...]:
    return history.step, history.evaluated, history.told, history.total, history.is_over


def same_device(tensors: Mapping[str, Tensor]) -> torch.device:
    """Return the device of the tensors."""
    found = {tensor.device for tensor in tensors.values()}
    if len(found) > 1:
        raise InputError(
            f"The parameters that learn lie on several devices ({', '.join(sorted(map(str, found)))}); "
            "call model.to() with one of them."
        )
    return found.pop()
