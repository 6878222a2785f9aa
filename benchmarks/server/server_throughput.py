"""Requests of many clients at once to ``bertie serve``, beside the same texts offline: texts and processor time.

Each round runs all ways, one after the other, with ``--peer`` and ``--infinity`` other servers too; medians count. The
clients' own work is not in the server's processor time, but they share its machine: what is compared on a busy machine
is the processor time a text.
"""

import argparse
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import islice, repeat
from pathlib import Path
from statistics import linear_regression, median, quantiles
from typing import Any, NamedTuple, cast
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bertie
import texts as real_texts
from bertie.hub import default_embedding_model, resolve

PEER = str(Path(__file__).with_name("fastapi_peer.py"))
INFINITY = ("--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--log-level", "error")
ALL = ["*"]


class Round(NamedTuple):
    """What one way took: seconds, the processor seconds of the process that computes, seconds of each request."""

    seconds: float
    processor: float
    requests: Sequence[float] = ()


class Server(NamedTuple):
    """A process that serves at a port of this machine."""

    process: subprocess.Popen[bytes]
    port: int


@contextmanager
def started(*command: str, **environment: str) -> Iterator[Server]:
    """Start a server, which takes ``--port``; give it once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([*command, "--port", str(port)], env={**os.environ, **environment})
    try:
        while True:
            assert process.poll() is None, "the server ended"
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield Server(process, port)
    finally:
        process.terminate()
        process.wait()


def served(model: str) -> AbstractContextManager[Server]:
    return started(sys.executable, "-m", "bertie", "serve", model, "--no-log-requests")


def processor_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def request(route: str, **body: Any) -> bytes:
    """Return a request of JSON as it is sent."""
    raw = json.dumps(body).encode()
    fields = ("Host: b", "Content-Type: application/json", f"Content-Length: {len(raw)}")
    return "\r\n".join((f"POST /{route} HTTP/1.1", *fields, "\r\n")).encode() + raw


def send(server: Server, requests: Iterable[bytes], clients: int) -> list[float]:
    """Send all requests, as many at a time as there are clients, and return the seconds of each.

    Each client has a connection; they share a thread, and do as little as can be, for the server has the same cores.
    """
    left, took = iter(requests), []
    with selectors.DefaultSelector() as answering:
        for first in islice(left, clients):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(first)
            answering.register(connection, selectors.EVENT_READ, [time.perf_counter(), 0])
        while answering.get_map():
            for key, _ in answering.select():
                connection, (began, missing) = cast(socket.socket, key.fileobj), key.data
                part = connection.recv(1 << 18)
                if not missing:  # the head of an answer comes whole
                    assert part.lower().startswith(b"http/1.1 200"), part[:1_000]
                    head, _, part = part.partition(b"\r\n\r\n")
                    missing = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                key.data[1] = missing - len(part)
                if key.data[1]:
                    continue
                took.append(time.perf_counter() - began)
                if (following := next(left, None)) is None:
                    answering.unregister(connection)
                    connection.close()
                else:
                    key.data[0] = time.perf_counter()
                    connection.sendall(following)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[str(default_embedding_model())], help="such as fp32 and int8")
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--short", action="store_true", help="single sentences only")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--size", type=int, default=1, help="texts in a request")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--soak", type=int, default=0, help="so many small requests instead, and what they leave behind"
    )
    parser.add_argument(
        "--peer", action="store_true", help="beside transformers behind FastAPI, which must be installed"
    )
    parser.add_argument("--infinity", metavar="PROGRAM", help="beside infinity_emb, installed apart")
    given = parser.parse_args()
    for model in given.models:
        print(model)
        if given.soak:
            soak(model, given.soak, given.clients)
        else:
            compare(model, (real_texts.short if given.short else real_texts.mixed)(given.texts), given)


def compare(model: str, texts: Sequence[str], given: argparse.Namespace) -> None:
    """Run all ways in turn, and print what they take."""
    config, folder = bertie.BertConfig.from_pretrained(model), str(resolve(model, files=ALL))
    tags = config.architectures == ["BertForTokenClassification"]
    parts = [texts[at : at + given.size] for at in range(0, len(texts), given.size)]
    # peers cut long texts, so nothing is read in windows here
    requests = [request("tag", inputs=part, windows=False) if tags else request("embed", inputs=part) for part in parts]
    task, options = ("token-classification", {"aggregation_strategy": "simple"}) if tags else ("embed", {})
    answer = bertie.pipeline(task, model, split_special_tokens=True, show_progress=False, **options)
    rounds: dict[str, list[Round]] = {}
    with ExitStack() as stack:
        servers = {"served": (stack.enter_context(served(model)), requests)}
        if given.peer:
            servers["FastAPI"] = stack.enter_context(started(sys.executable, PEER, MODEL=folder)), requests
        if given.infinity and not tags:
            command = (given.infinity, "v2", "--model-id", folder, "--served-model-name", "m", *INFINITY)
            others = [request("embeddings", input=part, model="m") for part in parts]
            servers["infinity"] = stack.enter_context(started(*command)), others
        for number in range(given.rounds + 1):  # the first one warms up
            for name, (server, asked) in servers.items():
                began, spent = time.perf_counter(), processor_seconds(server)
                took = send(server, asked, given.clients)
                one = Round(time.perf_counter() - began, processor_seconds(server) - spent, took)
                rounds.setdefault(name, []).append(one)
            began, spent = time.perf_counter(), time.process_time()
            answer(list(texts))
            rounds.setdefault("offline", []).append(Round(time.perf_counter() - began, time.process_time() - spent))
            if not number:
                rounds.clear()
    report(rounds, len(texts))


def soak(model: str, count: int, clients: int) -> None:
    """Send small requests; print how memory, descriptors, … grow with them, past the first fifth."""
    part, states = max(1, count // 50), []
    with served(model) as server:
        began, spent = time.perf_counter(), processor_seconds(server)
        with suppress(KeyboardInterrupt):  # what was sent by then is told
            for number in range(1, 51):
                send(server, repeat(request("embed", inputs=["a small text"]), part), clients)
                states.append((number * part, *state_of(server)))
                seconds, processor = time.perf_counter() - began, processor_seconds(server) - spent
    count = len(states) * part
    print(f"{count} requests, {count / seconds:.0f}/s, {1e3 * processor / count:.3f} ms of processor each")
    numbers, *columns = zip(*states[len(states) // 5 :], strict=True)
    for name, values in zip(("MB of memory", "descriptors", "threads", "requests in the queue"), columns, strict=True):
        slope = linear_regression(numbers, values).slope * 1e6
        print(f"a million requests add {slope:8.2f} {name} ({values[0]:.1f} to {values[-1]:.1f})")


def state_of(server: Server) -> tuple[float, int, int, float]:
    """Return a process's resident MB, open descriptors and threads, and how many requests wait in its queue."""
    folder = Path(f"/proc/{server.process.pid}")
    pages = int((folder / "statm").read_text().split()[1])
    with urlopen(f"http://127.0.0.1:{server.port}/metrics") as metrics:
        waiting = next(float(line.split()[1]) for line in metrics if line.startswith(b"te_queue_size "))
    counts = (len(os.listdir(folder / kind)) for kind in ("fd", "task"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, *counts, waiting


def report(rounds: Mapping[str, Sequence[Round]], count: int) -> None:
    """Print all ways, and how the server stands to the others."""
    figures = {}
    for name, taken in rounds.items():
        rate, cost = (median(count / one[place] for one in taken) for place in (0, 1))
        figures[name] = rate, cost
        print(f"{name:8} {rate:8.0f} texts/s {1e3 / cost:8.3f} ms of processor a text", end="")
        if requests := [seconds for one in taken for seconds in one.requests]:
            cuts = quantiles(requests, n=100)
            print(f"; a request: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms", end="")
        print()
    for name in list(figures)[1:]:
        share = [figures["served"][place] / figures[name][place] for place in (0, 1)]
        print(f"served / {name}: {share[0]:.2f} by the clock, {share[1]:.2f} by processor time")


if __name__ == "__main__":
    main()
