"""The logger "bertie", and progress: a bar on terminals and in notebooks, log lines elsewhere."""

import html
import importlib
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from bertie.messages import duration

logger = logging.getLogger("bertie")
_said: set[str] = set()
_MOST_REMEMBERED = 1_000  # messages

# progress lines where there is no terminal, at level INFO; disabling this logger also disables bars
lines = logging.getLogger("bertie.progress")

# Seconds before a bar appears, and between two lines.
PATIENCE, INTERVAL = 1.0, 60.0


class Advance(Protocol):
    """Adds ``done`` to the work done; ``note`` is shown next to the bar until the next note."""

    def __call__(self, done: float, note: str = "") -> None: ...


def say_once(message: str, level: int = logging.WARNING) -> None:
    """Log ``message`` unless this process has logged the same message before."""
    if message not in _said:
        if len(_said) == _MOST_REMEMBERED:  # a server's clients can cause any number of different messages
            _said.clear()
        _said.add(message)
        logger.log(level, message)


@contextmanager
def quietly(level: int = logging.ERROR) -> Iterator[None]:
    """Suppress messages below ``level``."""
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def progress(what: str, total: int | None, show: bool | None = None, done: float = 0.0) -> Iterator[Advance]:
    """Yield a function that counts work done; a bar appears on standard error after a second.

    ``done`` is the work of an earlier, resumed run; it does not count towards the estimate of the remaining time.
    """
    # True: a bar at once, anywhere; None: a bar on a terminal or in a notebook, else a log line per minute
    if show is None and lines.disabled:
        show = False
    if show is None and not (_on_terminal() or _in_notebook()):
        yield _Lines(what, total, done).advance
        return
    if show is False or not _can_be_seen():
        yield _ignore
        return
    bar = _Bar(what, total, done, 0.0 if show else PATIENCE)
    try:
        yield bar.advance
    finally:
        bar.stop()


def _can_be_seen() -> bool:
    # sys.stderr is None if the program was started without one
    return sys.stderr is not None and not sys.stderr.closed


def _on_terminal() -> bool:
    return _can_be_seen() and sys.stderr.isatty()


def _in_notebook() -> bool:
    ipython: Any = sys.modules.get("IPython")  # a notebook's kernel has imported it
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def _ignore(done: float, note: str = "") -> None:
    del done, note


class _Lines:
    """A log line every ``INTERVAL`` seconds."""

    def __init__(self, what: str, total: int | None, done: float) -> None:
        self._what, self._total = what, total
        self._done = self._logged = done
        self._logged_at = time.monotonic()

    def advance(self, done: float, note: str = "") -> None:
        self._done += done
        seconds = time.monotonic() - self._logged_at
        if seconds < INTERVAL:
            return
        line = [f"{self._what}: {self._done:,.0f}"]
        if self._total and self._done > self._logged:
            line[0] += f" of {self._total:,}"
            left = max(self._total - self._done, 0) / (self._done - self._logged) * seconds
            line.append(f"{duration(left)} to go")
        lines.info("%s", ", ".join([*line, note] if note else line))
        self._logged, self._logged_at = self._done, self._logged_at + seconds


class _Bar:
    """A progress bar that appears after ``patience`` seconds; rich is imported only then."""

    def __init__(self, what: str, total: int | None, done: float, patience: float) -> None:
        self._what, self._total, self._done = what, total, done
        self._note = ""
        self._start_at = time.monotonic() + patience
        self._bar: Any = None
        self._task: Any = None

    def advance(self, done: float, note: str = "") -> None:
        self._done += done
        self._note = note or self._note
        over = self._total is not None and self._done > self._total - 0.5
        if self._bar is None and time.monotonic() >= self._start_at and not over:
            self._start()
        if self._bar is not None:
            self._bar.update(self._task, completed=round(self._done), note=self._note)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _start(self) -> None:
        if _in_notebook():
            self._bar = _NotebookBar(self._what, self._total)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()),
            TextColumn("{task.fields[note]}", markup=False),
        )
        # redirected to a file, rich writes only the bar's final state
        self._bar = Progress(*columns, console=Console(stderr=True), transient=_on_terminal())
        self._task = self._bar.add_task(self._what, total=self._total, completed=round(self._done), note=self._note)
        self._bar.start()


class _NotebookBar:
    """A bar in a notebook cell's output, removed at its end; rich's own would need ipywidgets."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total, self._shown_at = what, total, 0.0
        display = importlib.import_module("IPython.display")
        self._html = display.HTML
        self._output = display.display(self._html(""), display_id=True)

    def update(self, _: object, *, completed: int, note: str) -> None:
        """Show how much is done, a few times a second."""
        if time.monotonic() - self._shown_at < 0.25:
            return
        self._shown_at = time.monotonic()
        bar = f'<progress value="{completed}" max="{self._total}"></progress> ' if self._total else ""
        of = f" of {self._total:,}" if self._total else ""
        self._output.update(self._html(f"{bar}{html.escape(f'{self._what}: {completed:,}{of} {note}')}"))

    def stop(self) -> None:
        self._output.update(self._html(""))
