"""Connections that would stay open for ever, and requests that proxies and servers might delimit differently."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bertie.serving import hardened_protocol

Address = tuple[str, int]
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
AMBIGUOUS = {
    "a length and chunks": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a length below 0": HEAD + b"Content-Length: -3\r\n\r\nabc",
    "a length with a sign": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "lines without CR": b"POST / HTTP/1.1\nHost: x\nContent-Length: 3\n\nabc",
    "a folded line": HEAD + b"X: a\r\n b\r\nContent-Length: 3\r\n\r\nabc",
    "a space before a colon": HEAD + b"Content-Length : 3\r\n\r\nabc",
    "a chunk of no size": CHUNKED + b"zz\r\nabc\r\n",
    "a chunk's line without CR": CHUNKED + b"3;a\nabc\r\n0\r\n\r\n",
    "chunks that are not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a control character": b"POST /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a huge header": HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "a huge path": b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def much(request: Request) -> Response:
    return Response(bytes(20_000_000))


def body_of(connection: socket.socket) -> bytes:
    """Return the body of a reply, of three bytes."""
    received = b""
    while len(received.partition(b"\r\n\r\n")[2]) < 3:
        received += connection.recv(1000)
    return received.partition(b"\r\n\r\n")[2]


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    """The address of an echo server."""
    app = Starlette(routes=[Route("/", echo, methods=["POST"]), Route("/much", much)])
    config = uvicorn.Config(app, port=0, http=hardened_protocol.HardenedProtocol, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[:2]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_request_smuggling_is_refused(address: Address, sent: bytes) -> None:
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(sent)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("length", [b"Content-Length: 3\r\n\r\nabc", CHUNKED[len(HEAD) :] + b"3\r\nabc\r\n0\r\n\r\n"])
def test_an_upgrade_header_is_ignored(address: Address, length: bytes) -> None:
    """Java's clients offer HTTP/2 with each request; httptools then drops the body."""
    offer = (
        HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n" + length
    )
    with socket.create_connection(address, timeout=60) as connection:
        for _ in range(2):
            connection.sendall(offer)
            assert body_of(connection) == b"abc"


def test_a_late_upgrade_header_is_refused(address: Address) -> None:
    """httptools would parse the body as the next request."""
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(HEAD + b"Connection: Upgrade\r\nUpg")
        time.sleep(0.2)
        connection.sendall(b"rade: h2c\r\nContent-Length: %d\r\n\r\n" % len(HEAD) + HEAD)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
        assert connection.recv(1000) == b"", "closed"


def test_an_upgrade_header_in_a_body_is_left_alone(address: Address) -> None:
    body = b"\nUpgrade: a\r\n\r\n"
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r" % len(body))
        time.sleep(0.2)
        connection.sendall(b"\n" + body)
        assert body_of(connection) == body


def test_chunked_bodies_are_read(address: Address) -> None:
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
        assert body_of(connection) == b"abc"


def test_an_endless_head_times_out(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardened_protocol, "HEAD_SECONDS", 0.3)
    with socket.create_connection(address, timeout=60) as slow:
        slow.sendall(HEAD + b"Content-Length: 3\r\n\r\nabc")
        assert body_of(slow) == b"abc"
        slow.sendall(HEAD)
        assert slow.recv(1000) == b"", "closed"


def test_a_refused_body_is_drained(address: Address) -> None:
    """Most clients send the whole body before they read the reply."""
    size = 5_000_000
    with socket.create_connection(address, timeout=60) as connection:
        for _ in range(2):
            connection.sendall(b"PUT /much HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            assert b" 405 " in connection.recv(1000)
        connection.sendall(HEAD + b"Content-Length: 3\r\n\r\nabc")
        assert body_of(connection) == b"abc"
        with suppress(OSError):
            connection.sendall(HEAD + b"X: " + b"a" * 100_000)
            assert connection.recv(1000) == b"", "closed: a head may not be as long"


def test_an_unread_reply_times_out(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardened_protocol, "UNREAD_SECONDS", 3.0)
    with socket.create_connection(address, timeout=60) as slow, socket.create_connection(address, timeout=60) as idle:
        for connection in (slow, idle):
            connection.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = 0
        for _ in range(10):  # a slow reader gets all of it
            received += len(slow.recv(1_000_000))
            time.sleep(0.4)
        while part := slow.recv(1_000_000):
            received += len(part)
        assert received > 20_000_000
        time.sleep(1)
        kept = sum(len(part) for part in iter(lambda: idle.recv(1_000_000), b""))
        assert kept < 20_000_000, "no more than the system's own buffers hold"


def test_an_idle_connection_makes_room_for_a_new_one(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardened_protocol, "max_connections", 2)
    with (
        socket.create_connection(address, timeout=60) as first,
        socket.create_connection(address, timeout=60) as second,
    ):
        for connection in (first, second, first):
            connection.sendall(HEAD + b"Content-Length: 3\r\n\r\nabc")
            assert body_of(connection) == b"abc"
        with socket.create_connection(address, timeout=60) as third:
            for connection in (third, first):
                connection.sendall(HEAD + b"Content-Length: 3\r\n\r\nabc")
                assert body_of(connection) == b"abc"
            assert second.recv(1) == b"", "closed, as it was idle for longest"
