"""HTTP as uvicorn reads it, for clients who send a head slowly or without an end, or who do not read their answer."""

import importlib.util
import re
import sys
from asyncio import AbstractEventLoop, TimerHandle
from contextlib import suppress
from typing import Any, Literal, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# a head that is not complete after so many seconds, or bytes, is not read any further
HEAD_SECONDS = 10.0
HEAD_BYTES = 65_536
# an answer of which nothing is read for so many seconds is kept no longer
UNREAD_SECONDS = 60.0
# httptools leaves out the body of a request that offers another protocol, as Java's clients do; a server may ignore it
_UPGRADE = re.compile(rb"(?i)(?<=\n)upgrade(?=:)")
# connections that the event loop accepts in one turn; beside those that are counted, those of six turns may be open: of
# three before the first is counted, and of three before one that made room is closed
ACCEPTED_AT_ONCE = 8
_FILES_BESIDE = 32
# beyond so many, one that is idle makes room for a new one
most_connections = sys.maxsize


def allow_connections() -> None:
    """Raise the limit of open files, of which a connection is one, as far as can be, and stay below it."""
    global most_connections
    if importlib.util.find_spec("resource") is None:  # Windows
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a limit below what it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft != resource.RLIM_INFINITY:
        most_connections = max(ACCEPTED_AT_ONCE, soft - _FILES_BESIDE - 6 * ACCEPTED_AT_ONCE)


class _WholeReplies:
    """A transport that sends the head of a reply together with its body, by one call of the system."""

    def __init__(self, transport: Any, loop: AbstractEventLoop) -> None:
        self._transport, self._loop, self._head = transport, loop, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        else:
            self._head = data
            self._loop.call_soon(self._send)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


class PatientProtocol(HttpToolsProtocol):
    """A connection that is closed when a head takes too long or grows too large, or an answer is not read."""

    _timer: TimerHandle | None = None
    _reader_timer: TimerHandle | None = None
    _last = 0.0  # when something was last heard
    _head = 0  # bytes of the head that is being read, as far as they are parsed
    _unread = 0  # bytes that came since a request was last complete in its head
    _part: Literal["head", "body"] | None = None  # of a request, that is being read

    def connection_made(self, transport: Any) -> None:
        whole: Any = _WholeReplies(transport, self.loop)
        super().connection_made(whole)
        self._last = self.loop.time()
        if len(self.connections) > most_connections:
            self._make_room()
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        self._last = self.loop.time()
        if self._part is None:
            head, end, body = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(b"ignored", head) + end + body
        in_body = self._part == "body"
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._unread = 0
            self._forget_timer()
            return
        # the rest of a body that was refused is read for as long as a head may take: its sender reads why after that
        self._unread = 0 if in_body else self._unread + len(data)
        if self._unread > HEAD_BYTES:
            self.transport.close()
        elif self._timer is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        self._forget_reader()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        self._forget_reader()
        super().resume_writing()

    def on_message_begin(self) -> None:
        self._head, self._part = 0, "head"
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        names = {name for name, value in self.headers if value != b"0"}
        if self.parser.should_upgrade() and names & {b"content-length", b"transfer-encoding"}:
            raise ValueError("the body of a request that still offers another protocol would be read as the next one")
        self._part = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._part = None
        super().on_message_complete()

    def _count(self, part: bytes) -> None:
        """Count what was parsed; the parser makes of the error the answer 400."""
        self._head += len(part)
        if self._head > HEAD_BYTES:
            raise ValueError("the head of a request is too large")

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _make_room(self) -> None:
        """Close the connection that has been idle for longest."""
        open_ones = cast("set[PatientProtocol]", self.connections)
        min((one for one in open_ones if one._is_idle), key=lambda one: one._last).transport.abort()

    @property
    def _is_idle(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing()

    def _wait_for_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(UNREAD_SECONDS, self._leave_reader, unread)

    def _leave_reader(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() >= unread:
            self.transport.abort()
        else:
            self._wait_for_reader()

    def _forget_reader(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
