"""Results: the figures of every engine on every workload, what follows from them, and their JSON."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bertie.errors import CheckpointError
from bertie.files import atomic, read_json
from comparison.checking import Check

FORMAT = 1


@dataclass(frozen=True)
class Figures:
    """One engine on one workload.

    Attributes:
        engine: its name.
        versions: of its packages.
        precision: "fp32", "bf16" or "int8".
        skipped: why there are no figures; empty if there are.
        seconds: of each round; of each text in each round where latency is measured.
        peak: bytes of memory at most, of its whole process.
        device_peak: bytes at most on the CUDA device.
        has_torch: whether its process loaded PyTorch, so that ``import torch`` can be taken off.
        check: how far its answers are from the reference's.
    """

    engine: str
    versions: str = ""
    precision: str = "fp32"
    skipped: str = ""
    seconds: tuple[float, ...] = ()
    peak: int = 0
    device_peak: int = 0
    has_torch: bool = False
    check: Check | None = None

    @property
    def is_bertie(self) -> bool:
        return self.engine.split()[0] == "bertie"

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def percentile(self, share: float) -> float:
        """Return the time that ``share`` of the samples do not exceed."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


@dataclass(frozen=True)
class Comparison:
    """All engines on one workload.

    Attributes:
        workload: name, title, task and measure of `comparison.workload.Workload`.
        texts, tokens, bytes: how much is read in a round.
        batch_size, rounds, threads, device: how.
        reference: the engine whose answers are the right ones.
        others: the share of the processors' time that went to other programs while engines were timed.
        torch_peak: bytes that ``import torch`` alone takes.
        figures: one for each engine.
    """

    name: str
    title: str
    task: str
    measure: str
    texts: int
    tokens: int
    bytes: int
    batch_size: int
    rounds: int
    threads: int
    device: str
    machine: str
    reference: str
    others: float
    torch_peak: int
    figures: tuple[Figures, ...] = field(default=())

    @property
    def timed(self) -> list[Figures]:
        """The engines that have figures, fastest first."""
        return sorted((one for one in self.figures if not one.skipped), key=lambda one: one.median)

    def baseline(self, name: str | None = None) -> Figures | None:
        """Return the engine that ratios are taken to: the one named, else the first in the engines' order."""
        timed = [one for one in self.figures if not one.skipped]
        named = [one for one in timed if one.engine == name]
        return next(iter(named or timed), None)

    def best_peer(self, precision: str) -> Figures | None:
        """Return the fastest engine of this precision that is not bertie."""
        return next((one for one in self.timed if one.precision == precision and not one.is_bertie), None)

    def own_bytes(self, one: Figures) -> int | None:
        """Return the engine's peak memory less what ``import torch`` alone takes; None if it did not import it."""
        return one.peak - self.torch_peak if one.has_torch else None


def write_results(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write comparisons as one JSON object."""
    content = {"format": FORMAT, "comparisons": [asdict(one) for one in comparisons]}
    with atomic(path) as file:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> list[Comparison]:
    """Return the comparisons in a file of `write_results`.

    Raises:
        CheckpointError: the file is missing, damaged, or of another format.
    """
    content = read_json(path, "results")
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{str(path)!r} holds no benchmark results of format {FORMAT}; measure again")
    try:
        return [_comparison(fields) for fields in content["comparisons"]]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{str(path)!r} is damaged ({error}); measure again") from error


def _comparison(fields: dict[str, Any]) -> Comparison:
    return Comparison(**{**fields, "figures": tuple(map(_figures, fields["figures"]))})


def _figures(fields: dict[str, Any]) -> Figures:
    found = None if fields["check"] is None else Check(**fields["check"])
    return Figures(**{**fields, "seconds": tuple(fields["seconds"]), "check": found})
