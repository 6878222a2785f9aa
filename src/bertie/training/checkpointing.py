"""Saves and restores a run: states and the best weights in a folder or, without one, the best weights in memory.

What is saved during the run is copied, then written by a background thread.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from torch import Tensor, nn

from bertie.errors import CheckpointError, InputError, spelled
from bertie.progress import logger
from bertie.settings import Settings
from bertie.training.distributed import Processes
from bertie.training.evaluating import warn
from bertie.training.fingerprint import Fingerprint, describe_process_change, refuse_other
from bertie.training.history import History
from bertie.training.optimizer import AdamW
from bertie.training.param_groups import is_sharded, restore, snapshot
from bertie.training.state import Saved, States


class Checkpointer:
    """Saves and restores one run; what all processes have in common is written by the first."""

    def __init__(self, folder: Path | None, fingerprint: Fingerprint, settings: Settings, group: Processes) -> None:
        self._states = None if folder is None else States(folder, group, settings.keep_states)
        self.where = str(folder)  # for messages
        self._fingerprint, self._settings, self._writes = fingerprint, settings, group.rank == 0
        self._best: dict[str, Tensor] = {}
        self._saved: tuple[int, ...] = ()
        self._saved_at = time.monotonic()
        self._writer = ThreadPoolExecutor(1, "bertie-state")
        self._writing: Future[None] | None = None
        self.seconds = 0.0  # spent writing the last state

    def resume(self, model: nn.Module, optimizer: AdamW, wanted: bool) -> History | None:
        """Restore model and optimiser from the last state, and return the run's history; None: a new run."""
        if self._states is None:
            if wanted:
                raise InputError("resume needs the folder with the run's state; give folder.")
            return None
        if not wanted:
            if self._states.exist():
                raise InputError(
                    f"{self.where!r} holds the state of a run; continue it ({spelled('resume', True)}), give "
                    "another folder, or remove this one."
                )
            return None
        saved = self._states.load(dict(model.named_parameters()))
        if saved is None:
            return None
        refuse_other(saved.identity, self._fingerprint, self.where)
        history = self._restore(saved, model, optimizer)
        self._saved = _progress_of(history)
        if sentence := describe_process_change(saved.identity, self._fingerprint):
            warn(history, sentence)
        logger.info("The run in %r continues after step %d.", self.where, history.step)
        return history

    def is_due(self, step: int) -> bool:
        """Whether another save is due, by steps or by time."""
        if self._states is None:
            return False
        every, minutes = self._settings.save_every, self._settings.save_minutes
        by_time = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        return by_time or (every is not None and step % every == 0) or self._is_permanent(step)

    def save(self, model: nn.Module, optimizer: AdamW, history: History, wait: bool = True) -> bool:
        """Save the run, unless its current state is saved; return whether there is a folder to save it in.

        With ``wait=False`` this only copies, and a thread writes; a write error is raised by the next call.
        """
        if self._states is None:
            return False
        self.wait()
        if self._saved != _progress_of(history):
            self._save(self._states, model, optimizer, history, wait)
        elif self._writes:
            self._states.tidy(history.best_step)  # the run may have been killed after saving and before tidying
        self._saved, self._saved_at = _progress_of(history), time.monotonic()
        return True

    def wait(self) -> None:
        """Wait until the last state is written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Wait for pending writes; after an error too, which takes precedence over theirs."""
        self._writer.shutdown()

    def rewind(self, model: nn.Module, optimizer: AdamW) -> int | None:
        """Restore model and optimiser to the last state, and return its step; None: there is none."""
        if self._states is None:
            return None
        self.wait()
        saved = self._states.load(dict(model.named_parameters()))
        return None if saved is None else self._restore(saved, model, optimizer).step

    def keep_best(self, model: nn.Module, step: int) -> None:
        """Keep the current weights as the best so far."""
        if not self._writes:
            return
        self.wait()  # writing a state removes best weights other than its own
        if self._states is not None:
            self._writing = self._writer.submit(self._states.save_best, step, _copies(snapshot(model)))
        else:
            self._best = _copies(snapshot(model))

    def restore_best(self, model: nn.Module, step: int) -> None:
        """Restore the best weights, in the first process only."""
        if self._writes:
            restore(model, self._best if self._states is None else self._states.load_best(step))

    def _is_permanent(self, step: int) -> bool:
        every = self._settings.keep_every
        return every is not None and step % every == 0

    def _restore(self, saved: Saved, model: nn.Module, optimizer: AdamW) -> History:
        try:
            history = History.from_dict(saved.history)
            restore(model, saved.model)
            optimizer.load(saved.optimizer)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"the training state in {self.where!r} lacks {error}; start the run again, without resume"
            ) from error
        return history

    def _save(self, states: States, model: nn.Module, optimizer: AdamW, history: History, wait: bool) -> None:
        parameters, permanent = dict(model.named_parameters()), self._is_permanent(history.step)
        sharded, kept = is_sharded(parameters), history.to_dict()
        if not sharded and not self._writes:
            return

        def write(tensors: dict[str, Tensor], moments: dict[str, Tensor]) -> None:
            began = time.monotonic()
            states.save(self._fingerprint, kept, tensors, moments, parameters, permanent)
            self.seconds = time.monotonic() - began

        if wait or sharded:  # writing shards is collective, and must not overlap with the step's all-reduce
            write(snapshot(model), optimizer.tensors())
        else:
            self._writing = self._writer.submit(write, _copies(snapshot(model)), _copies(optimizer.tensors()))


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def _progress_of(history: History) -> tuple[int, ...]:
    return history.step, history.evaluated, history.told, history.total, history.is_over
