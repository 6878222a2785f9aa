"""Requests of many clients at once to ``bertie serve``, beside the same texts offline: texts and processor time.

Each round runs both ways, one after the other; medians count. The clients' own work is not in the server's processor
time, but they share its machine: what is compared on a busy machine is the processor time a text.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import linear_regression, median, quantiles
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bertie
import texts as real_texts
from bertie.hub import default_embedding_model


class Round(NamedTuple):
    """What one way took: seconds, the processor seconds of the process that computes, seconds of each request."""

    seconds: float
    processor: float
    requests: Sequence[float] = ()


@contextmanager
def server(model: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Start a server; give its process, host and port."""
    command = [sys.executable, "-m", "bertie", "serve", model, "--port", "0", "--no-log-requests"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    host, port = process.stderr.readline().rpartition("http://")[2].strip().split(":")
    try:
        yield process, host, int(port)
    finally:
        process.terminate()
        process.wait()


def processor_seconds(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def client(host: str, port: int, bodies: Iterator[bytes], took: list[float]) -> None:
    """Send one body after the other on one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    for body in bodies:
        began = time.perf_counter()
        writer.write(b"POST /embed HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        took.append(time.perf_counter() - began)
    writer.close()


async def send(host: str, port: int, texts: Sequence[str], clients: int, size: int) -> list[float]:
    """Send all texts, ``size`` in a request, as many at a time as there are clients."""
    requests = (json.dumps({"inputs": list(texts[at : at + size])}).encode() for at in range(0, len(texts), size))
    took: list[float] = []
    await asyncio.gather(*(client(host, port, requests, took) for _ in range(clients)))
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
    given = parser.parse_args()
    for model in given.models:
        print(model)
        if given.soak:
            soak(model, given.soak, given.clients)
        else:
            compare(model, real_texts.mixed(given.texts), given.clients, given.size, given.rounds)


def compare(model: str, texts: Sequence[str], clients: int, size: int, rounds: int) -> None:
    """Run both ways in turn, and print what they take."""
    embed = bertie.pipeline("embed", model, split_special_tokens=True, show_progress=False)
    served, offline = [], []
    with server(model) as (process, host, port):
        embed(texts[:100])
        asyncio.run(send(host, port, texts[:100], clients, size))
        for _ in range(rounds):
            began, spent = time.perf_counter(), processor_seconds(process)
            took = asyncio.run(send(host, port, texts, clients, size))
            served.append(Round(time.perf_counter() - began, processor_seconds(process) - spent, took))
            began, spent = time.perf_counter(), time.process_time()
            embed(texts)
            offline.append(Round(time.perf_counter() - began, time.process_time() - spent))
    report(served, offline, len(texts))


def soak(model: str, count: int, clients: int) -> None:
    """Send small requests; print how memory, descriptors and threads grow with them, past the first fifth."""
    part, states = max(1, count // 50), []
    with server(model) as (process, host, port):
        began, spent = time.perf_counter(), processor_seconds(process)
        for number in range(50):
            asyncio.run(send(host, port, ["a small text"] * part, clients, 1))
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


def report(served: Sequence[Round], offline: Sequence[Round], count: int) -> None:
    """Print both ways, and the server's share of the offline rate."""
    figures = {}
    for name, rounds in (("served", served), ("offline", offline)):
        rate, cost = (median(count / one[place] for one in rounds) for place in (0, 1))
        figures[name] = rate, cost
        print(f"{name:8} {rate:8.0f} texts/s {1e3 / cost:8.3f} ms of processor a text")
    requests = [seconds for one in served for seconds in one.requests]
    cuts = quantiles(requests, n=100)
    print(f"a request: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms")
    share = [figures["served"][place] / figures["offline"][place] for place in (0, 1)]
    print(f"served / offline: {share[0]:.2f} by the clock, {share[1]:.2f} by processor time")


if __name__ == "__main__":
    main()
