"""HTTP as uvicorn reads it, for clients who send the head of a request slowly, without an end, or in a huge size."""

from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# a head that is not complete after so many seconds, or bytes, is not read any further
HEAD_SECONDS = 10.0
HEAD_BYTES = 65_536


class PatientProtocol(HttpToolsProtocol):
    """A connection that is closed when the head of a request takes too long, or grows too large."""

    _timer: TimerHandle | None = None
    _head = 0  # bytes of the head that is being read, as far as they are parsed
    _unread = 0  # bytes that came since a request was last complete in its head

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._unread = 0
            self._forget_timer()
            return
        self._unread += len(data)
        if self._unread > HEAD_BYTES:
            self.transport.close()
        elif self._timer is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name + value)
        super().on_header(name, value)

    def _count(self, part: bytes) -> None:
        """Count what was parsed; the parser makes of the error the answer 400."""
        self._head += len(part)
        if self._head > HEAD_BYTES:
            raise ValueError("the head of a request is too large")

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
