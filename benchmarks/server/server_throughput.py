"""Requests of many clients at once to ``bertie serve``, beside the same texts offline: texts and processor time.

Each round runs both ways, one after the other, and with ``--peer`` the same requests to transformers behind FastAPI;
medians count. The clients' own work is not in the server's processor time, but they share its machine: what is compared
on a busy machine is the processor time a text.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import linear_regression, median, quantiles
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bertie
import texts as real_texts
from bertie.hub import default_embedding_model, resolve

PEER = Path(__file__).with_name("fastapi_peer.py")
ALL = ["*"]


class Round(NamedTuple):
    """What one way took: seconds, the processor seconds of the process that computes, seconds of each request."""

    seconds: float
    processor: float
    requests: Sequence[float] = ()


@contextmanager
def server(model: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Start a server; give its process, host and port."""
    with started([sys.executable, "-m", "bertie", "serve", model, "--port", "0", "--no-log-requests"]) as found:
        yield found


@contextmanager
def peer(model: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """As `server`, of transformers behind FastAPI."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with started(
        [sys.executable, str(PEER), str(port)], {**os.environ, "MODEL": str(resolve(model, files=ALL))}
    ) as found:
        while True:
            try:
                socket.create_connection(found[1:]).close()
            except ConnectionRefusedError:
                time.sleep(0.1)
            else:
                break
        yield found


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    line = next(line for line in process.stderr if "http://" in line)
    host, port = line.rpartition("http://")[2].strip().split(":")
    try:
        yield process, host, int(port)
    finally:
        process.terminate()
        process.wait()


def processor_seconds(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def client(host: str, port: int, route: str, bodies: Iterator[bytes], took: list[float]) -> None:
    """Send one body after the other on one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    for body in bodies:
        began = time.perf_counter()
        fields = ("Host: b", "Content-Type: application/json", f"Content-Length: {len(body)}")
        head = "\r\n".join((f"POST /{route} HTTP/1.1", *fields, "\r\n"))
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert answer.startswith(b"http/1.1 200"), answer
        await reader.readexactly(int(answer.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        took.append(time.perf_counter() - began)
    writer.close()


async def send(host: str, port: int, route: str, texts: Sequence[str], clients: int, size: int) -> list[float]:
    """Send all texts, ``size`` in a request, as many at a time as there are clients."""
    requests = (json.dumps({"inputs": list(texts[at : at + size])}).encode() for at in range(0, len(texts), size))
    took: list[float] = []
    await asyncio.gather(*(client(host, port, route, requests, took) for _ in range(clients)))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[str(default_embedding_model())], help="such as fp32 and int8")
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--size", type=int, default=1, help="texts in a request")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--soak", type=int, default=0, help="so many small requests instead, and what they leave behind"
    )
    parser.add_argument(
        "--peer", action="store_true", help="beside transformers behind FastAPI, which must be installed"
    )
    given = parser.parse_args()
    for model in given.models:
        print(model)
        if given.soak:
            soak(model, given.soak, given.clients)
        else:
            compare(model, real_texts.mixed(given.texts), given)


def compare(model: str, texts: Sequence[str], given: argparse.Namespace) -> None:
    """Run all ways in turn, and print what they take."""
    config = bertie.BertConfig.from_pretrained(model)
    tags = config.architectures == ["BertForTokenClassification"]
    task, route = ("token-classification", "tag") if tags else ("embed", "embed")
    answer = bertie.pipeline(task, model, split_special_tokens=True, show_progress=False)
    rounds: dict[str, list[Round]] = {}
    with ExitStack() as stack:
        servers = {"served": stack.enter_context(server(model))}
        if given.peer:
            servers["FastAPI"] = stack.enter_context(peer(model))
        for number in range(given.rounds + 1):  # the first one warms up
            for name, (process, host, port) in servers.items():
                began, spent = time.perf_counter(), processor_seconds(process)
                took = asyncio.run(send(host, port, route, texts, given.clients, given.size))
                one = Round(time.perf_counter() - began, processor_seconds(process) - spent, took)
                rounds.setdefault(name, []).append(one)
            began, spent = time.perf_counter(), time.process_time()
            answer(list(texts))
            rounds.setdefault("offline", []).append(Round(time.perf_counter() - began, time.process_time() - spent))
            if not number:
                rounds.clear()
    report(rounds, len(texts))


def soak(model: str, count: int, clients: int) -> None:
    """Send small requests; print how memory, descriptors and threads grow with them, past the first fifth."""
    part, states = max(1, count // 50), []
    with server(model) as (process, host, port):
        began, spent = time.perf_counter(), processor_seconds(process)
        for number in range(50):
            asyncio.run(send(host, port, "embed", ["a small text"] * part, clients, 1))
            states.append((number * part, *state_of(process)))
        seconds, processor = time.perf_counter() - began, processor_seconds(process) - spent
    print(
        f"{50 * part} requests, {50 * part / seconds:.0f}/s, {1e3 * processor / (50 * part):.3f} ms of processor each"
    )
    numbers, *columns = zip(*states[10:], strict=True)
    for name, values in zip(("MB of memory", "descriptors", "threads"), columns, strict=True):
        slope = linear_regression(numbers, values).slope * 1e6
        print(f"a million requests add {slope:8.2f} {name} ({values[0]:.1f} to {values[-1]:.1f})")


def state_of(process: subprocess.Popen[str]) -> tuple[float, int, int]:
    """Return a process's resident MB, open descriptors and threads."""
    folder = Path(f"/proc/{process.pid}")
    pages = int((folder / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir(folder / "fd")), len(os.listdir(folder / "task"))


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
