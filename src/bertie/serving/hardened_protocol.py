"""uvicorn's HTTP protocol, hardened against clients that send endless or slow headers, or never read their reply."""

import importlib.util
import re
import sys
from asyncio import AbstractEventLoop, TimerHandle
from contextlib import suppress
from typing import Any, Literal, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# the request line and headers ("head") must be complete within this time and size
HEAD_SECONDS = 10.0
HEAD_BYTES = 65_536
# a connection whose client reads nothing of its reply for so long is closed
UNREAD_SECONDS = 60.0
# httptools drops the body of a request with an Upgrade header, which Java's clients send; a server may ignore it
_UPGRADE = re.compile(rb"(?i)(?<=\n)upgrade(?=:)")
# Connections that the event loop accepts in one turn. Those of six turns may be open but uncounted: of three turns
# before the first is counted, and of three before one that made room is closed.
ACCEPTED_AT_ONCE = 8
_OTHER_FILES = 32
# beyond this, the connection that has been idle longest is closed for each new one
max_connections = sys.maxsize


def allow_connections() -> None:
    """Raise the limit on open files, which connections are too, as far as possible, and keep below it."""
    global max_connections
    if importlib.util.find_spec("resource") is None:  # Windows
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a limit below what it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft != resource.RLIM_INFINITY:
        max_connections = max(ACCEPTED_AT_ONCE, soft - _OTHER_FILES - 6 * ACCEPTED_AT_ONCE)


class _CoalescingTransport:
    """A transport that sends the head of a reply together with its body, in one system call."""

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


class HardenedProtocol(HttpToolsProtocol):
    """A connection that is closed when a head is too slow or too large, or the reply is not read."""

    _head_timer: TimerHandle | None = None
    _write_timer: TimerHandle | None = None
    _last = 0.0  # when data was last received
    _head = 0  # parsed bytes of the current head
    _unread = 0  # bytes received since a head was last complete
    _part: Literal["head", "body"] | None = None  # of the request that is being received

    def connection_made(self, transport: Any) -> None:
        coalescing: Any = _CoalescingTransport(transport, self.loop)
        super().connection_made(coalescing)
        self._last = self.loop.time()
        if len(self.connections) > max_connections:
            self._make_room()
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        self._last = self.loop.time()
        if self._part is None:
            head, end, body = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(b"ignored", head) + end + body
        in_body = self._part == "body"
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._unread = 0
            self._cancel_head_timer()
            return
        # the rest of a refused body is read for as long as a head may take: clients read the reply only after sending
        self._unread = 0 if in_body else self._unread + len(data)
        if self._unread > HEAD_BYTES:
            self.transport.close()
        elif self._head_timer is None:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        self._cancel_write_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        self._cancel_write_timer()
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
            raise ValueError("httptools would parse the body of this upgrade request as the next request")
        self._part = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._part = None
        super().on_message_complete()

    def _count(self, part: bytes) -> None:
        """Count parsed bytes; the parser turns the error into a 400."""
        self._head += len(part)
        if self._head > HEAD_BYTES:
            raise ValueError("the head of a request is too large")

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _make_room(self) -> None:
        """Close the connection that has been idle for longest."""
        connections = cast("set[HardenedProtocol]", self.connections)
        min((one for one in connections if one._is_idle), key=lambda one: one._last).transport.abort()

    @property
    def _is_idle(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing()

    def _start_write_timer(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(UNREAD_SECONDS, self._check_write_progress, unread)

    def _check_write_progress(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() >= unread:
            self.transport.abort()
        else:
            self._start_write_timer()

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
