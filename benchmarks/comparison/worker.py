"""The worker process: one engine, one job; it reads commands from standard input and answers each by a JSON line.

``python -m comparison.worker JOB.json``, started by `comparison.process`. Nothing is imported before a command
needs it, so that the start of an engine can be timed and its memory is its own.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bertie.bench.worker import peak_memory
from comparison import machine, measure
from comparison.engines.table import Run, find
from comparison.job import Job


class Worker:
    """An engine under command; each public method is a command."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.engine = find(job.engine)
        self._run: Run | None = None

    def convert(self) -> None:
        """Write the model in the engine's format."""
        if self.engine.converts:
            self.engine.convert(self.job)

    def start(self) -> float:
        """Return the seconds until the first answer of this process."""
        return measure.start(self._load, self.job.workload)

    def answers(self, path: str) -> None:
        """Save the answers to ``path``."""
        found = measure.answers(self._load(), self.job.workload)
        import numpy as np

        np.save(path, found, allow_pickle=False)

    def round(self) -> list[float]:
        """Return the seconds of one round."""
        return measure.one_round(self._load(), self.job.workload)

    def memory(self) -> tuple[int, int, bool]:
        """Return the peaks so far, of this process and of the CUDA device, and whether PyTorch is loaded."""
        return peak_memory(), machine.peak_device_memory(), "torch" in sys.modules

    def _load(self) -> Run:
        if self._run is None:
            self._run = self.engine.load(self.job)
        return self._run


def import_torch() -> None:
    """Print what a process that does nothing but ``import torch`` takes at its peak."""
    import torch  # noqa: F401

    print(peak_memory())


def main() -> None:
    if sys.argv[1:] == ["import-torch"]:
        return import_torch()
    # libraries print as they like: what they say goes to standard error, the protocol keeps the pipe to itself
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(Job.read(Path(sys.argv[1])))
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(_answered(getattr(worker, command), arguments)), file=pipe, flush=True)
    # some runtimes hang or crash when Python takes them apart, after all is done
    os._exit(0)


def _answered(command: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    try:
        return {"answer": command(*arguments)}
    except Exception as error:
        import traceback

        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {str(error).strip() or 'no message'}"}


if __name__ == "__main__":
    main()
