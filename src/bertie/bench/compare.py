"""The comparison: each way to run a model has its own process; they take turns, round after round."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.bench.ways import WAYS, Way
from bertie.compression.folder import Opened
from bertie.compression.quantizing import quantize
from bertie.errors import BertieError

_WORKER = [sys.executable, "-m", "bertie.bench.worker"]
# all libraries get the same number of threads
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
# seconds; thread pools spin for a while after their work, so the next way starts when they sleep
PAUSE = 0.4


@dataclass
class Figures:
    """The measurements of one way, in seconds and bytes; ``problem`` says why it was not timed to the end."""

    way: str
    start: list[float] = field(default_factory=list)  # until the first answer
    all: list[float] = field(default_factory=list)  # for all texts
    alone: list[float] = field(default_factory=list)  # for single texts
    peak: int = 0
    cosine: float = 1.0  # of the worst text's answer with the first way's
    problem: str = ""


def compare(opened: Opened, texts: Sequence[str], task: str, rounds: int, **job: Any) -> list[Figures]:
    """Return the figures of every way that can run here; ``job`` has ``threads`` and ``max_length``."""
    with TemporaryDirectory(prefix="bertie-bench-") as temporary:
        job |= {"model": str(opened.folder), "texts": list(texts), "task": task}
        contenders = [_Contender(way, job, Path(temporary)) for way in WAYS if way.can_run(task)]
        try:
            _step_each(contenders, lambda contender: contender.prepare(opened))
            for step in (*[_Contender.start] * rounds, _Contender.answer, *[_Contender.round] * rounds):
                _step_each(contenders, step)
        finally:
            for contender in contenders:
                contender.close()
    timed = [contender for contender in contenders if not contender.figures.problem]
    for contender in timed:
        contender.figures.cosine = _worst_cosine(contender.answers, timed[0].answers)
    return [contender.figures for contender in contenders]


class _Contender:
    """One way, its process and its figures."""

    def __init__(self, way: Way, job: dict[str, Any], folder: Path) -> None:
        self.figures, self.answers = Figures(way.name), np.zeros((0, 0))
        self._way, self._job, self._folder = way, job | {"way": way.name}, folder / way.name
        self._folder.mkdir()
        self._process: Any = None

    def prepare(self, opened: Opened) -> None:
        """Write an int8 copy of the model if this way runs one."""
        if self._way.int8:
            small = quantize(opened.model, texts=self._job["texts"], tokenizer=opened.tokenizer, show_progress=False)
            self._job["model"] = str(self._folder / "int8")
            opened.write(self._job["model"], small)

    def start(self) -> None:
        """Start a new process, and wait for its first answer."""
        self.close()
        time.sleep(PAUSE)
        environment = os.environ | dict.fromkeys(_THREADS, str(self._job["threads"]))
        begin = time.perf_counter()
        with (self._folder / "log.txt").open("wb") as log:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            self._process = subprocess.Popen(_WORKER, **pipes, env=environment, encoding="utf-8")
        self._ask(json.dumps(self._job))
        self.figures.start.append(time.perf_counter() - begin)

    def answer(self) -> None:
        self.answers = np.array(self._ask("answers"))

    def round(self) -> None:
        time.sleep(PAUSE)
        took = self._ask("round")
        self.figures.all.append(took["all"])
        self.figures.alone += took["alone"]
        self.figures.peak = took["peak"]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, line: str) -> Any:
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        if answer := self._process.stdout.readline():
            return json.loads(answer)
        words = (self._folder / "log.txt").read_text(encoding="utf-8", errors="replace").split()
        raise BertieError(" ".join(words)[-200:] or f"exit code {self._process.wait()}")


def _step_each(contenders: Sequence[_Contender], step: Callable[[_Contender], None]) -> None:
    """Have each way do a step; one that fails is stopped, and its problem recorded."""
    for contender in contenders:
        if not contender.figures.problem:
            try:
                step(contender)
            except BertieError as error:
                contender.figures.problem = str(error)
                contender.close()


def _worst_cosine(first: NDArray[Any], second: NDArray[Any]) -> float:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(1) / np.where(lengths > 0, lengths, 1)).min())


def table(figures: Sequence[Figures], texts: int) -> str:
    """Return the figures as a Markdown table; × is the speed-up over the first way, by the medians."""
    rows = [["way", "texts/s", "×", "ms a text", "×", "start s", "×", "peak MB", "worst cosine"]]
    rows += [["---", *["---:"] * (len(rows[0]) - 1)]]
    timed = [one for one in figures if not one.problem]
    for one in timed:
        rows.append([one.way])
        for name, shown in (("all", lambda s: texts / s), ("alone", lambda s: s * 1e3), ("start", lambda s: s)):
            base, seconds = (median(getattr(each, name)) for each in (timed[0], one))
            rows[-1] += [f"{shown(seconds):.4g}", f"{base / seconds:.2f}"]
        rows[-1] += [f"{one.peak / 1e6:.0f}", f"{one.cosine:.4f}"]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, *(f"Not timed: {one.way}: {one.problem}" for one in figures if one.problem)])
