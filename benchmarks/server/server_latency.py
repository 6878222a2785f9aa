"""How long requests to ``bertie serve`` wait, by how many clients ask at once: p50 and p99, and a plot of them.

Texts of mixed lengths, one a request; each client sends its next one when it is answered, so rates say how far the
server is loaded.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib.pyplot as plt
from server_throughput import request, send, served

import texts as real_texts
from bertie.hub import default_embedding_model

CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[str(default_embedding_model())], help="such as fp32 and int8")
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--plot", type=Path, help="a file to draw to, such as latency.svg")
    given = parser.parse_args()
    requests = [request("embed", inputs=[text]) for text in real_texts.mixed(given.texts)]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for model in given.models:
        rates, p50, p99 = zip(*waits(model, requests), strict=True)
        (line,) = axes.plot(rates, p50, "o-", label=f"{Path(model).name}, p50")
        axes.plot(rates, p99, "o:", color=line.get_color(), label=f"{Path(model).name}, p99")
    axes.set(xlabel="requests a second", ylabel="milliseconds", yscale="log")
    axes.legend()
    if given.plot:
        figure.savefig(given.plot)


def waits(model: str, requests: list[bytes]) -> list[tuple[float, float, float]]:
    """Return requests a second and p50 and p99 in milliseconds, for each number of clients, and print them."""
    found = []
    print(f"{model}\nclients  requests/s   p50 ms   p99 ms")
    with served(model) as server:
        send(server, requests, 8)  # warms up
        for clients in CLIENTS:
            began = time.perf_counter()
            cuts = quantiles(send(server, requests, clients), n=100)
            rate = len(requests) / (time.perf_counter() - began)
            found.append((rate, 1e3 * cuts[49], 1e3 * cuts[98]))
            print(f"{clients:7} {rate:11.0f} {found[-1][1]:8.1f} {found[-1][2]:8.1f}")
    return found


if __name__ == "__main__":
    main()
