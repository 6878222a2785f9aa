"""Ctrl-C, SIGTERM and SIGHUP: the first lets the step end and its state be saved, the second ends at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

# SIGHUP comes when a terminal is closed or a connection to it is lost; Windows has none
STOPPING = tuple(number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)))


class Signals:
    """Notes the first of these signals while it is entered; a second one does what it did before."""

    def __init__(self) -> None:
        self.received = 0
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise KeyboardInterrupt within the block when a signal comes: what runs there can be thrown away."""
        self._at_once = True
        try:
            if self.received:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        self._give_back()
        if self._at_once:
            raise KeyboardInterrupt

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
