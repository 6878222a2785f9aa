"""What is sent back: a body, of which type, with which status and other headers."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple

import msgspec

# as ASGI has them
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = b"application/json"


class Reply(NamedTuple):
    """A reply whose headers do not say how long the body is, nor, if that is empty, of which type."""

    body: bytes = b""
    media_type: bytes = JSON
    status: int = 200
    headers: Sequence[Header] = ()

    async def send(self, send: Send, more: Sequence[Header] = ()) -> None:
        """Send the reply, with more headers."""
        headers = [*self.headers, *more, (b"content-length", b"%d" % len(self.body))]
        if self.body:
            headers.append((b"content-type", self.media_type))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def reply_of(value: Any, status: int = 200, headers: Sequence[Header] = ()) -> Reply:
    """Return a value as JSON; a reply as it is."""
    return value if isinstance(value, Reply) else Reply(msgspec.json.encode(value), JSON, status, headers)
