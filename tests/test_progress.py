"""Messages are logged once, and progress is shown on a terminal or on request."""

import io
import logging
import sys
from types import SimpleNamespace

import pytest

from bertie import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_message_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        progress.say_once("the moon is full")
    assert caplog.messages == ["the moon is full"]
    assert caplog.records[0].levelno == logging.WARNING


def test_the_memory_of_messages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_said", said := set())
    for number in range(3 * progress._MOST_REMEMBERED):
        progress.say_once(f"top_p={number} has no effect", logging.DEBUG)
    assert 0 < len(said) <= progress._MOST_REMEMBERED


@pytest.mark.parametrize(
    ("show", "terminal", "shown"), [(None, False, False), (False, True, False), (True, True, True)]
)
def test_where_progress_is_shown(
    show: bool | None, terminal: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.progress("texts", 10, show) as advance:
        advance(3)
        advance(7)
    assert ("texts" in stream.getvalue()) == shown


def test_short_work_shows_nothing_and_long_work_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for patience, shown in ((60.0, False), (0.0, True)):
        monkeypatch.setattr(progress, "PATIENCE", patience)
        monkeypatch.setattr(sys, "stderr", Terminal())
        with progress.progress("texts", 10) as advance:
            advance(4)
            stream = sys.stderr
        assert ("texts" in stream.getvalue()) == shown  # type: ignore[attr-defined]


def test_fractions_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.progress("texts", 3, show=True) as advance:
        for _ in range(10):
            advance(0.3)
        stream = sys.stderr
    assert "3/3" in stream.getvalue()  # type: ignore[attr-defined]


def test_a_bar_shows_its_note_and_a_file_gets_the_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    with progress.progress("steps", 9, show=True) as advance:
        for loss in (3, 2, 1):
            advance(1, f"loss [{loss}]")
        advance(1)
    assert stream.getvalue().count("steps") == 1
    assert "4/9" in stream.getvalue()
    assert "loss [1]" in stream.getvalue()


@pytest.mark.parametrize("closed", [False, True])
def test_without_a_standard_error_there_is_no_bar(closed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal() if closed else None
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)  # as in a service, or after 2>&-
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    for show in (None, True):
        with progress.progress("texts", 10, show) as advance:
            advance(3)


def test_without_a_terminal_lines_are_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress.lines, "handlers", [])  # a command that ran in this process has added one
    monkeypatch.setattr(progress.lines, "propagate", True)
    with progress.progress("steps", 10_000, done=1000) as advance:  # by the run before this one
        for _ in range(200):
            now[0] += 1
            advance(10, "loss 0.5")
    with progress.progress("texts", None) as advance:
        now[0] += 60
        advance(7)
    assert caplog.messages == [
        "steps: 1,600 of 10,000, 14 min 0 s to go, loss 0.5",
        "steps: 2,200 of 10,000, 13 min 0 s to go, loss 0.5",
        "steps: 2,800 of 10,000, 12 min 0 s to go, loss 0.5",
        "texts: 7",
    ]
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_a_notebook_shows_an_html_bar_that_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def display(page: str, display_id: bool) -> SimpleNamespace:
        assert display_id
        shown.append(page)
        return SimpleNamespace(update=shown.append)

    kernel = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))  # type: ignore[misc]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))  # type: ignore[misc]
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with progress.progress("steps <b>", 10) as advance:
        advance(4, "loss 0.5")
        advance(1)  # too soon to be shown
    assert shown == ["", '<progress value="4" max="10"></progress> steps &lt;b&gt;: 4 of 10 loss 0.5', ""]
