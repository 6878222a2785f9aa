"""Faults around a server, on real processes: killed workers, idle connections, no file handles, long use."""

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from tests.serving.conftest import Process

Start = Callable[..., Process]
LONG = ["some words of a long text " * 8] * 300
ASK = b'POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"inputs": "a"}'


def statuses_of(running: Process, count: int, most: int, act: Callable[[], Any]) -> list[int]:
    """Send ``count`` requests at once, act when ``most`` are in flight, return the statuses; 0: a broken connection."""
    statuses: list[int] = []

    def ask() -> None:
        try:
            reply = running.post("/embed", {"inputs": LONG})
            assert reply.status_code != 200 or len(reply.json()) == len(LONG)
            statuses.append(reply.status_code)
        except httpx2.TransportError:
            statuses.append(0)

    clients = [threading.Thread(target=ask) for _ in range(count)]
    for client in clients:
        client.start()
    while in_flight(running) < most and any(client.is_alive() for client in clients):
        time.sleep(0.01)
    act()
    for client in clients:
        client.join()
    return statuses


def in_flight(running: Process) -> float:
    lines = httpx2.get(running.url + "/metrics", timeout=60).text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("bertie_requests_in_flight "))


def test_every_accepted_request_is_answered_at_shutdown(process: Start, folders: dict[str, Path]) -> None:
    running = process(str(folders["vectors"]), "--timeout", "600")
    ended: list[Any] = []
    statuses = statuses_of(running, 200, 100, lambda: ended.append(running.end()))
    ((code, said),) = ended
    logged = [json.loads(line)["status"] for line in said.splitlines() if '"event":"request"' in line]
    assert code == 0
    assert statuses.count(200) >= 100
    assert sorted(logged) == sorted(status for status in statuses if status), "one answer each, and none got lost"


def test_a_killed_process_only_loses_its_own_requests(process: Start, folders: dict[str, Path]) -> None:
    running = process(str(folders["vectors"]), "--workers", "2", "--no-log-requests", "--timeout", "600")
    victim = running.workers()[0]
    statuses = statuses_of(running, 40, 20, lambda: os.kill(victim, signal.SIGKILL))
    assert set(statuses) <= {0, 200}
    assert statuses.count(200) > 0, "those of the other process, and those that waited for the next one"
    assert running.post("/embed", {"inputs": "a"}).status_code == 200


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 10_200:
        pytest.skip(f"the system allows {before[1]} open files, and the test needs 10200")
    resource.setrlimit(resource.RLIMIT_NOFILE, (10_200, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_ten_thousand_idle_connections(process: Start, folders: dict[str, Path], many_files: None) -> None:
    """They are kept open, others are answered meanwhile, and they are closed if no request comes."""
    running = process(str(folders["vectors"]), "--no-log-requests")
    before = resident(running)
    idle = [running.connect() for _ in range(10_000)]
    began = time.perf_counter()
    assert running.post("/embed", {"inputs": "a"}).status_code == 200
    took = time.perf_counter() - began
    print(f"10000 idle connections: an answer in {took:.3f} s, {(resident(running) - before) / 1e6:.0f} MB more")
    for connection in idle:
        assert connection.recv(1) == b"", "closed, as no head came"
        connection.close()
    assert running.end()[0] == 0


def test_without_free_file_handles(folders: dict[str, Path]) -> None:
    """At the limit, idle connections make room for new ones, which are answered, and nothing crashes or is logged."""
    running = Process("--no-log-requests", str(folders["vectors"]), most_files=100)
    try:
        idle = [running.connect() for _ in range(150)]
        began = time.perf_counter()
        assert running.post("/embed", {"inputs": "a"}).status_code == 200
        print(f"at the limit of open files a request waited {time.perf_counter() - began:.1f} s")
        for connection in idle:
            connection.close()
        assert running.end() == (0, "")
    finally:
        running.process.kill()


def resident(running: Process) -> int:
    return int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def state_of(running: Process) -> dict[str, float]:
    folder = Path(f"/proc/{running.process.pid}")
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines())
    lines = httpx2.get(running.url + "/metrics", timeout=60).text.splitlines()
    queue = next(float(line.split()[-1]) for line in lines if line.startswith("te_queue_size "))
    return {
        "memory": resident(running) / 1e6,
        "descriptors": len(os.listdir(folder / "fd")),
        "threads": int(status["Threads"]),
        "queue": queue,
    }


@pytest.mark.slow
def test_a_minute_of_use_leaves_nothing_behind(process: Start, folders: dict[str, Path]) -> None:
    """Requests of all sorts for a minute, a third of them wrong or abandoned: no slope in memory or anything else."""
    running = process(str(folders["vectors"]), "--no-log-requests", "--max-concurrent-requests", "64")
    until, counts = time.monotonic() + 60, [0] * 8

    def use(number: int) -> None:
        while time.monotonic() < until:
            with running.connect() as connection:
                for _ in range(30):
                    connection.sendall(ASK)
                    assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
                connection.sendall(b'POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{"i')
                connection.recv(65_536)
                connection.sendall(ASK[:-4] if counts[number] % 2 else ASK)
            counts[number] += 32

    threads = [threading.Thread(target=use, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    time.sleep(15)  # buffers and caches fill
    states, times = [], []
    while time.monotonic() < until - 1:
        states.append(state_of(running))
        times.append(time.monotonic())
        time.sleep(1)
    for thread in threads:
        thread.join()
    slopes = {name: np.polyfit(times, [state[name] for state in states], 1)[0] * 60 for name in states[0]}
    print(
        f"{sum(counts)} requests; a minute adds " + ", ".join(f"{slope:.2f} {name}" for name, slope in slopes.items())
    )
    assert slopes["memory"] < 3, "MB"
    assert abs(slopes["descriptors"]) < 5
    assert abs(slopes["threads"]) < 1
    assert states[-1]["queue"] < 64
    assert running.end()[0] == 0
