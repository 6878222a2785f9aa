"""Several processes on one port: each serves all models; one that dies, or hangs, is replaced by a new one."""

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
# a process whose event loop is not heard of for so many seconds is ended
HUNG_SECONDS = 30.0
# one that ended before it served is not started again for so many seconds
RETRY_SECONDS = 5.0
_WATCH_SECONDS = 0.5


class Seat(NamedTuple):
    """The place of one process among all that serve."""

    number: int
    beats: MutableSequence[float]  # when each was last heard of, 0 before it serves
    counts: MutableSequence[float] | None = None  # what all of them count, for `Metrics`; None: it serves alone

    def beat(self) -> None:
        self.beats[self.number] = monotonic()

    def leave(self) -> None:
        self.beats[self.number] = 0.0

    @property
    def all_taken(self) -> bool:
        """Whether every process serves."""
        return all(self.beats)


# what a process does: serve at a socket in a seat
Serve = Callable[[socket.socket, Seat], None]


def reloads_on_hangup() -> bool:
    """Whether SIGHUP asks for the models to be read anew; on a terminal it says that the terminal is closed."""
    return hasattr(signal, "SIGHUP") and not os.isatty(0)


def hold_hangups() -> None:
    """Have SIGHUP wait, in this process and those that it starts, until they unblock it: by itself it ends them."""
    if reloads_on_hangup():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])


class WorkerProcesses:
    """Processes that serve, one for each of the listening sockets.

    A socket stays open while its process is replaced, so connections that wait in it are not lost. The first process
    begins alone: what is wrong with a model is said once.
    """

    def __init__(self, serve: Serve, listeners: Sequence[socket.socket]) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork would copy locks of threads that it has not
        self._serve, self._listeners = serve, listeners
        self._beats: Any = self._context.Array("d", len(listeners), lock=False)
        self._counts: Any = self._context.Array("d", len(listeners) * WIDTH, lock=False)
        self._processes: dict[int, SpawnProcess] = {}
        self._not_before = [0.0] * len(listeners)
        self._silent = [0.0] * len(listeners)  # the last beat of those that were silent when they were last looked at
        self._begun = self._ending = False

    def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C, which every process gets; return the exit code."""
        handlers: dict[int, Any] = {signal.SIGINT: self._end, signal.SIGTERM: self._end}
        if reloads_on_hangup():
            handlers[signal.SIGHUP] = self._pass_on
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        share, own = max(1, available_threads() // len(self._listeners)), dict(os.environ)
        try:
            os.environ["OMP_NUM_THREADS"] = str(share)  # what processes start with
            return self._watch()
        finally:
            os.environ.clear()
            os.environ |= own
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self) -> int:
        """Start processes, and replace those that end or hang, until all are to end and have."""
        code = 0
        while self._processes or not self._ending:
            if not self._ending:
                self._fill_seats()
            connection.wait([process.sentinel for process in self._processes.values()], _WATCH_SECONDS)
            for number, process in list(self._processes.items()):
                if process.is_alive():
                    self._end_if_hung(number, process)
                else:
                    del self._processes[number]
                    Metrics(self._counts, number).note_load(0, 0)
                    code = code or self._note_end(number, process)
        return code

    def _fill_seats(self) -> None:
        self._begun = self._begun or self._beats[0] > 0
        for number, time in enumerate(self._not_before if self._begun else self._not_before[:1]):
            if number not in self._processes and monotonic() >= time:
                given = (self._serve, self._listeners[number], Seat(number, self._beats, self._counts))
                process = self._context.Process(target=_work, args=given, name=f"bertie-{number}")
                hold_hangups()
                process.start()
                self._processes[number] = process
                if reloads_on_hangup():
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        if self._ending:  # since a process was begun that was not there to be told
            self._pass_on(signal.SIGTERM)

    def _end_if_hung(self, number: int, process: SpawnProcess) -> None:
        """End a process that is silent at two looks: after one, all may have been held up alike."""
        beat = self._beats[number]
        before, self._silent[number] = self._silent[number], beat if beat < monotonic() - HUNG_SECONDS else 0.0
        if 0 < beat == before:
            logger.error("Process %d was not heard of for %g seconds, and is ended.", process.pid, HUNG_SECONDS)
            process.kill()

    def _note_end(self, number: int, ended: SpawnProcess) -> int:
        """Say that a process ended, and when another may take its place; return the exit code if all are to end."""
        code, served = ended.exitcode or 0, self._beats[number] > 0
        self._beats[number] = 0.0
        if self._ending:
            return int(code not in (0, -signal.SIGTERM))
        if not self._begun:
            self._end()
            return code if code > 0 else 1
        logger.error("Process %d ended with exit code %d; another one takes its place.", ended.pid, code)
        self._not_before[number] = monotonic() + (0 if served else RETRY_SECONDS)
        return 0

    def _end(self, *_: Any) -> None:
        self._ending = True
        self._pass_on(signal.SIGTERM)

    def _pass_on(self, number: int, _: Any = None) -> None:
        for process in list(self._processes.values()):
            with suppress(ProcessLookupError):
                if process.pid is not None and process.exitcode is None:
                    os.kill(process.pid, number)


def _work(serve: Serve, listener: socket.socket, seat: Seat) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process tells the others
    try:
        serve(listener, seat)
    except BertieError as error:
        print(f"bertie: {printable(str(error))}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None
