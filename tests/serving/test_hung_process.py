"""A process whose event loop stops is killed and replaced. Few imports, as the spawned processes repeat them."""

import signal
import socket
import threading
import time

import pytest

from bertie.serving import worker_processes
from bertie.serving.worker_processes import WorkerSlot


def hang(listener: socket.socket, slot: WorkerSlot) -> None:
    """Serve like a process whose event loop stops."""
    slot.beat()
    if slot.number == 1 and slot.heartbeats[2] == 0:
        slot.heartbeats[2] = slot.heartbeats[1]
        signal.pause()
    while slot.heartbeats[2] != -1:
        slot.beat()
        time.sleep(0.05)


def test_a_hung_process_is_killed_and_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_processes, "HUNG_SECONDS", 1.0)
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    made = worker_processes.WorkerProcesses(hang, listeners)
    made._heartbeats = made._context.Array(
        "d", 3, lock=False
    )  # the third is for signals between the processes and the test

    def end_when_replaced() -> None:
        while "another one takes its place" not in caplog.text or not all(made._heartbeats[:2]):
            time.sleep(0.05)
        made._heartbeats[2] = -1
        made._end()

    watcher = threading.Thread(target=end_when_replaced)
    watcher.start()
    code = made.run()
    watcher.join()
    assert code == 0
    assert "did not respond for 1 seconds and is killed" in caplog.text
