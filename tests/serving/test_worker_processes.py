"""Several real processes on one port: shared counts, a killed process, and shutdown."""

import os
import signal
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import httpx2
import pytest
from tests.serving.conftest import Process

from bertie.errors import InputError
from bertie.serving.server_process import _listen_on_shared_port

Start = Callable[..., Process]


def health(connection: HTTPConnection) -> int:
    """Return the status of a health check; 0 if the connection is closed."""
    try:
        connection.request("GET", "/health")
        reply = connection.getresponse()
        reply.read()
        return reply.status
    except (OSError, HTTPException):
        return 0


def successes(running: Process) -> float:
    lines = httpx2.get(running.url + "/metrics", timeout=60).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("te_request_success{"))


def test_a_killed_process_is_replaced_and_its_counts_are_kept(process: Start, folders: dict[str, Path]) -> None:
    running = process(f"v={folders['vectors']}", "--workers", "2")
    assert "serving v (embed" in running.began
    for _ in range(20):  # each on a new connection
        assert running.post("/embed", {"inputs": "a"}).status_code == 200
    assert successes(running) == 20
    first, second = running.workers()
    connections = [HTTPConnection(running.url.removeprefix("http://"), timeout=240) for _ in range(16)]
    assert {health(one) for one in connections} == {200}
    for one in connections:
        one.auto_open = 0  # no automatic reconnection
    os.kill(first, signal.SIGKILL)
    seen: list[int] = []
    while 503 not in seen or seen[-1] != 200:
        seen += filter(None, map(health, connections))
    assert second in running.workers()
    assert first not in running.workers()
    assert successes(running) == 20, "what a process counted stays counted"
    assert running.end()[0] == 0


def test_an_error_in_a_model_is_reported_once(process: Start, tmp_path: Path) -> None:
    failed = process(str(tmp_path), "--workers", "3")
    _, said = failed.process.communicate(timeout=120)
    assert failed.process.returncode == 2
    assert failed.began.startswith("bertie: ")
    assert said == ""


def test_a_port_in_use_is_not_shared() -> None:
    listeners = _listen_on_shared_port("127.0.0.1", 0, 2)
    port = listeners[0].getsockname()[1]
    assert {listener.getsockname()[1] for listener in listeners} == {port}
    with pytest.raises(InputError, match=f"Port {port} of 127.0.0.1 cannot be opened"):
        _listen_on_shared_port("127.0.0.1", port, 2)
    for listener in listeners:
        listener.close()
