"""A comparison: a fresh process for each engine, its answers checked, then rounds in turn, one engine at a time."""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertie.errors import BertieError
from comparison import machine
from comparison.checking import Check, check
from comparison.engines.table import Engine, find
from comparison.job import Job
from comparison.process import WorkerProcess, torch_memory
from comparison.results import Comparison, Figures
from comparison.workload import Workload

# threads that wait for more work spin for a while after it: the next engine starts when they sleep
PAUSE = 0.4
Tell = Callable[[str], None]


def compare(
    workload: Workload,
    engines: Sequence[Engine],
    *,
    threads: int | None = None,
    device: str = "cpu",
    cache: Path,
    tell: Tell = lambda _: None,
) -> Comparison:
    """Return the figures of all engines on one workload.

    Args:
        workload: what is run.
        engines: who runs it.
        threads: for each engine; None: one for each processor.
        device: "cpu" or a CUDA device.
        cache: the folder of converted models.
        tell: called with a line on what is done next.

    Raises:
        BertieError: not even the reference can be run.
    """
    threads = 1 if workload.one_thread else threads or machine.cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bertie-bench-")))
        turns = _Turns(workload, threads, device, cache, folder, tell, stack)
        reference = turns.reference(engines)
        figures = turns.start(engines) if workload.measure == "start" else turns.rounds(engines)
    return Comparison(
        **{name: getattr(workload, name) for name in ("name", "title", "task", "measure", "tokens", "bytes")},
        **{name: getattr(workload, name) for name in ("batch_size", "rounds")},
        texts=len(workload.texts),
        threads=threads,
        device=device,
        machine=machine.describe(),
        reference=reference,
        others=turns.load.share,
        torch_peak=torch_memory(threads),
        figures=tuple(figures),
    )


class _Turns:
    """The engines of one comparison, each with its process."""

    def __init__(
        self, workload: Workload, threads: int, device: str, cache: Path, folder: Path, tell: Tell, stack: ExitStack
    ) -> None:
        self.workload, self.threads, self.device, self.cache = workload, threads, device, cache
        self.folder, self.tell, self.stack = folder, tell, stack
        self.expected: NDArray[np.float64] = np.zeros(0)
        self._opened = 0
        self.load = machine.Load()
        # the reference's process, if the engine is compared too
        self._kept: WorkerProcess | None = None

    def reference(self, engines: Sequence[Engine]) -> str:
        """Take the answers of fp32 transformers, or of bertie where that is not installed; return its name."""
        names = (
            ("transformers fast", "bertie") if self.workload.task == "tokenize" else ("transformers sorted", "bertie")
        )
        name = next(name for name in names if name == "bertie" or not find(name).why_not(self.workload, self.device))
        self.tell(f"{self.workload.name}: the right answers, by {name}")
        worker = self._open(find(name))
        self.expected = self._answers(worker)
        if self.workload.measure != "start" and name in [engine.name for engine in engines]:
            self._kept = worker
        else:
            worker.close()
        return name

    def rounds(self, engines: Sequence[Engine]) -> list[Figures]:
        """Load and check each engine, then let each do one round after the other, as often as asked."""
        figures: list[Figures] = []
        workers: dict[str, WorkerProcess] = {}
        for engine in engines:
            made, worker = self._checked(engine)
            figures.append(made)
            if worker is not None:
                workers[engine.name] = worker
        for number in range(1, self.workload.rounds + 1):
            self.tell(f"{self.workload.name}: round {number} of {self.workload.rounds}, {len(workers)} engines")
            for index, one in enumerate(figures):
                if one.engine in workers:
                    figures[index] = self._one_round(one, workers[one.engine])
        return [self._with_memory(one, workers[one.engine]) if not one.skipped else one for one in figures]

    def start(self, engines: Sequence[Engine]) -> list[Figures]:
        """As `rounds`, with a fresh process for each round of each engine."""
        figures = [self._checked(engine)[0] for engine in engines]
        for _ in range(self.workload.rounds):
            for index, one in enumerate(figures):
                if not one.skipped:
                    worker = self._open(find(one.engine))
                    figures[index] = self._with_memory(self._timed(one, worker, "start"), worker)
                    worker.close()
        return figures

    def _checked(self, engine: Engine) -> tuple[Figures, WorkerProcess | None]:
        """Return the engine's figures so far, and its loaded worker if its answers are right."""
        why = engine.why_not(self.workload, self.device)
        figures = Figures(engine.name, precision=engine.precision, skipped=why)
        if why:
            return figures, None
        figures = replace(figures, versions=engine.versions)
        if self._kept is not None and engine.name == self._kept.job.engine:
            return replace(figures, check=Check(0.0)), self._kept
        self.tell(f"{self.workload.name}: loading and checking {engine.name}")
        worker = self._open(engine)
        try:
            if engine.converts:
                # in a process of its own: what converting loads is not part of the engine's memory
                worker.ask("convert")
                worker.close()
                worker = self._open(engine)
            found = check(self._answers(worker), self.expected, self.workload.task, engine.precision)
        except BertieError as error:
            worker.close()
            return replace(figures, skipped=str(error)), None
        if found.problem or self.workload.measure == "start":
            worker.close()
        return replace(figures, check=found, skipped=found.problem), None if found.problem else worker

    def _one_round(self, one: Figures, worker: WorkerProcess) -> Figures:
        return one if one.skipped else self._timed(one, worker, "round")

    def _timed(self, one: Figures, worker: WorkerProcess, command: str) -> Figures:
        time.sleep(PAUSE)
        try:
            with self.load.beside(worker.pid):
                taken = worker.ask(command)
        except BertieError as error:
            return replace(one, skipped=str(error))
        return replace(one, seconds=(*one.seconds, *(taken if isinstance(taken, list) else [taken])))

    def _with_memory(self, one: Figures, worker: WorkerProcess) -> Figures:
        if one.skipped:
            return one
        peak, device_peak, has_torch = worker.ask("memory")
        return replace(one, peak=peak, device_peak=device_peak, has_torch=has_torch)

    def _answers(self, worker: WorkerProcess) -> NDArray[np.float64]:
        worker.ask("answers", str(worker.answers_path))
        found: NDArray[np.float64] = np.load(worker.answers_path, allow_pickle=False)
        return found

    def _open(self, engine: Engine) -> WorkerProcess:
        self._opened += 1
        folder = self.folder / str(self._opened)
        folder.mkdir()
        job = Job(self.workload, engine.name, self.threads, self.device, str(self.cache), engine.versions)
        worker = WorkerProcess(job, folder)
        self.stack.callback(worker.close)
        return worker
