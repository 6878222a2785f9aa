"""Several processes on one port, each serving all models; one that dies or hangs is replaced."""

import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, MutableSequence, Sequence
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from time import monotonic
from typing import Any, NamedTuple

from bertie.errors import BertieError
from bertie.messages import printable
from bertie.serving.service_metrics import WIDTH, Metrics
from bertie.threads import available_threads

logger = logging.getLogger("bertie.serving")
# a process without a heartbeat for so long is killed
HUNG_SECONDS = 30.0
# the delay before a process that ended before it served is started again
RETRY_SECONDS = 5.0
_POLL_SECONDS = 0.5


class WorkerSlot(NamedTuple):
    """What one of several server processes shares with the others."""

    number: int
    heartbeats: MutableSequence[float]  # the time of each process's last one, 0 before it serves
    counts: MutableSequence[float] | None = None  # the counters of all, for `Metrics`; None: there is one process

    def beat(self) -> None:
        self.heartbeats[self.number] = monotonic()

    def leave(self) -> None:
        self.heartbeats[self.number] = 0.0

    @property
    def all_serving(self) -> bool:
        """Whether every process serves."""
        return all(self.heartbeats)


# what a process does: serve on a socket, in a slot
Serve = Callable[[socket.socket, WorkerSlot], None]


def reloads_on_sighup() -> bool:
    """Whether SIGHUP reloads the models; on a terminal it means that the terminal was closed."""
    return hasattr(signal, "SIGHUP") and not os.isatty(0)


def block_sighup() -> None:
    """Hold SIGHUP back, in this process and its children, until they unblock it: its default action ends them."""
    if reloads_on_sighup():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])


class WorkerProcesses:
    """Server processes, one for each listening socket.

    A socket stays open while its process is replaced, so that pending connections are not lost. The first process
    starts alone, so that an error in a model is reported once.
    """

    def __init__(self, serve: Serve, listeners: Sequence[socket.socket]) -> None:
        self._context = multiprocessing.get_context("spawn")  # fork copies locks that other threads hold
        self._serve, self._listeners = serve, listeners
        self._heartbeats: Any = self._context.Array("d", len(listeners), lock=False)
        self._counts: Any = self._context.Array("d", len(listeners) * WIDTH, lock=False)
        self._processes: dict[int, SpawnProcess] = {}
        self._not_before = [0.0] * len(listeners)
        self._stale = [0.0] * len(listeners)  # the heartbeats that were too old at the last check
        self._started = self._ending = False

    def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C, which are forwarded to every process; return the exit code."""
        handlers: dict[int, Any] = {signal.SIGINT: self._end, signal.SIGTERM: self._end}
        if reloads_on_sighup():
            handlers[signal.SIGHUP] = self._forward_signal
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        share, own = max(1, available_threads() // len(self._listeners)), dict(os.environ)
        try:
            os.environ["OMP_NUM_THREADS"] = str(share)  # inherited by the processes
            return self._watch()
        finally:
            os.environ.clear()
            os.environ |= own
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self) -> int:
        """Start processes, and replace those that end or hang, until told to stop and all have ended."""
        code = 0
        while self._processes or not self._ending:
            if not self._ending:
                self._start_missing()
            connection.wait([process.sentinel for process in self._processes.values()], _POLL_SECONDS)
            for number, process in list(self._processes.items()):
                if process.is_alive():
                    self._kill_if_hung(number, process)
                else:
                    del self._processes[number]
                    Metrics(self._counts, number).note_load(0, 0)
                    code = code or self._handle_exit(number, process)
        return code

    def _start_missing(self) -> None:
        self._started = self._started or self._heartbeats[0] > 0
        for number, time in enumerate(self._not_before if self._started else self._not_before[:1]):
            if number not in self._processes and monotonic() >= time:
                given = (self._serve, self._listeners[number], WorkerSlot(number, self._heartbeats, self._counts))
                process = self._context.Process(target=_serve_in_process, args=given, name=f"bertie-{number}")
                block_sighup()
                process.start()
                self._processes[number] = process
                if reloads_on_sighup():
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        if self._ending:  # told to stop meanwhile: a process started here has not got the signal
            self._forward_signal(signal.SIGTERM)

    def _kill_if_hung(self, number: int, process: SpawnProcess) -> None:
        """Kill a process whose heartbeat is stale at two checks: one may only mean that the whole machine stalled."""
        beat = self._heartbeats[number]
        before, self._stale[number] = self._stale[number], beat if beat < monotonic() - HUNG_SECONDS else 0.0
        if 0 < beat == before:
            logger.error("Process %d did not respond for %g seconds and is killed.", process.pid, HUNG_SECONDS)
            process.kill()

    def _handle_exit(self, number: int, ended: SpawnProcess) -> int:
        """Log that a process ended, and set when it may be replaced; return the exit code if all are to end."""
        code, served = ended.exitcode or 0, self._heartbeats[number] > 0
        self._heartbeats[number] = 0.0
        if self._ending:
            return int(code not in (0, -signal.SIGTERM))
        if not self._started:
            self._end()
            return code if code > 0 else 1
        logger.error("Process %d ended with exit code %d; another one takes its place.", ended.pid, code)
        self._not_before[number] = monotonic() + (0 if served else RETRY_SECONDS)
        return 0

    def _end(self, *_: Any) -> None:
        self._ending = True
        self._forward_signal(signal.SIGTERM)

    def _forward_signal(self, number: int, _: Any = None) -> None:
        for process in list(self._processes.values()):
            with suppress(ProcessLookupError):
                if process.pid is not None and process.exitcode is None:
                    os.kill(process.pid, number)


def _serve_in_process(serve: Serve, listener: socket.socket, slot: WorkerSlot) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent forwards it as SIGTERM
    try:
        serve(listener, slot)
    except BertieError as error:
        print(f"bertie: {printable(str(error))}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None
