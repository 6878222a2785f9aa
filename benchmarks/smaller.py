"""Quality and speed of an embedding model and of smaller ones made from it: a table and a plot.

    python benchmarks/smaller.py ../shared/data/similarity/dev.csv TEACHER my-student my-pruned … -o smaller.png

Quality is Spearman's correlation of cosines with human scores; speed is by processor time, in turn in one process.
"""

import argparse
import csv
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

import bertie
from bertie.metrics import RegressionMetric

ROUNDS = 5
SENTENCES = 512  # that are timed


class Point(NamedTuple):
    """The measurements of a model."""

    name: str
    spearman: float
    speed: float  # times that of the first
    size: float  # of its weights, in MiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="pairs with a score: sentence1,sentence2,score")
    parser.add_argument("models", nargs="+", help="the teacher, then what was made from it")
    parser.add_argument("-o", "--picture", type=Path)
    options = parser.parse_args()
    with options.data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pipes = {Path(name).name: bertie.pipeline("embed", name, device="cpu") for name in options.models}
    seconds = timed(pipes, [row["sentence1"] for row in rows[:SENTENCES]])
    first = next(iter(seconds.values()))
    points = [Point(name, quality(pipe, rows), first / seconds[name], size(pipe)) for name, pipe in pipes.items()]
    print("| model | Spearman | speed | size |\n|---|---|---|---|")
    for point in points:
        print(f"| {point.name} | {point.spearman:.3f} | {point.speed:.2f} | {point.size:.0f} MiB |")
    if options.picture:
        draw(points, options.picture)


def timed(pipes: dict[str, Any], texts: list[str]) -> dict[str, float]:
    """Return the median processor time of each, in seconds."""
    taken: dict[str, list[float]] = {name: [] for name in pipes}
    for _ in range(ROUNDS):
        for name, pipe in pipes.items():
            begun = time.process_time()
            pipe(texts)
            taken[name].append(time.process_time() - begun)
    return {name: median(spent) for name, spent in taken.items()}


def quality(pipe: Any, rows: list[dict[str, str]]) -> float:
    """Return Spearman's correlation of the pairs' cosines with their scores."""
    one, other = (pipe([row[name] for row in rows], normalize=True) for name in ("sentence1", "sentence2"))
    metric, scores = RegressionMetric(), np.array([float(row["score"]) for row in rows])
    return metric.compute(metric.summary(metric.rows((one * other).sum(axis=1), scores)))["spearman"]


def size(pipe: Any) -> float:
    """Return the size of a model's weight file in MiB."""
    return sum(each.stat().st_size for each in Path(pipe.model.name_or_path).glob("*.safetensors")) / 2**20


def draw(points: list[Point], path: Path) -> None:
    """Plot the models' quality over their speed."""
    figure = Figure(figsize=(8, 4.5), dpi=130, layout="constrained")
    panel = figure.subplots()
    for point in points:
        panel.plot(point.speed, point.spearman, "s" if point is points[0] else "o", label=point.name)
    panel.set_xscale("log")
    panel.set_xlabel(f"times as fast as {points[0].name}")
    panel.set_ylabel("Spearman on the pairs")
    panel.set_xticks([1, 2, 4, 10, 30, 100], labels=["1", "2", "4", "10", "30", "100"])
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8, loc="lower left")
    figure.savefig(path)


if __name__ == "__main__":
    main()
