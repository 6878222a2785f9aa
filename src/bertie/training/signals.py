"""Ctrl-C and SIGTERM: the first lets the step end and its state be saved, the second ends at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class Stopped(KeyboardInterrupt):
    """Training was stopped by a signal after its state was saved; ``str()`` is a sentence for the user.

    It is a KeyboardInterrupt, as Ctrl-C gives everywhere else, and no mistake that ``except Exception`` should catch.

    Attributes:
        exit_code: what a program then ends with: 130 after SIGINT, 143 after SIGTERM.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Signals:
    """Notes the first SIGINT or SIGTERM while it is entered; a second one does what it did before.

    Signals reach the main thread only: elsewhere nothing is installed. One that was ignored stays ignored.
    """

    def __init__(self) -> None:
        self.received = 0
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
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
