"""The harness's end of a worker: a fresh process with its share of threads, asked one command at a time."""

import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from bertie.errors import BertieError
from comparison.job import Job

# where this package is found by a worker, whatever folder it is started in
_PLACE = str(Path(__file__).resolve().parents[1])
# whoever counts threads by one of these gets the same number
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "TBB_NUM_THREADS")
_LINE = 200
# an engine that hangs is ended: seconds for an answer, and for converting a model
PATIENCE, PATIENCE_TO_CONVERT = 240, 1_200


class WorkerProcess:
    """A running worker. Closing it ends the process.

    Args:
        job: what it is told.
        folder: where its job, its answers and what its libraries print are kept.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.job = job
        self.answers_path = folder / "answers.npy"
        job.write(folder / "job.json")
        self._log = folder / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "comparison.worker", str(folder / "job.json")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(job.threads),
                text=True,
                encoding="utf-8",
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, command: str, *arguments: Any) -> Any:
        """Return the worker's answer to a command.

        Raises:
            BertieError: the engine failed, its process died, or it was ended because no answer came.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
            self._process.stdin.flush()
            self._wait(PATIENCE_TO_CONVERT if command == "convert" else PATIENCE)
            line = self._process.stdout.readline()
        if not line:
            raise BertieError(f"Its process died: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise BertieError(f"It failed: {_one_line(answer['error'])}")
        return answer["answer"]

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self, seconds: float) -> None:
        """Return once there is an answer to read, or the process has ended."""
        answers = self._process.stdout
        assert answers is not None
        if os.name == "posix" and not select.select([answers], [], [], seconds)[0]:
            self._process.kill()
            raise BertieError(f"It gave no answer for {seconds} seconds.")

    def _last_words(self) -> str:
        code = self._process.wait()
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return _one_line(lines[-1]) if lines else f"exit code {code}."


@cache
def torch_memory(threads: int) -> int:
    """Return the peak memory in bytes of a process that only imports torch."""
    done = subprocess.run(
        [sys.executable, "-m", "comparison.worker", "import-torch"],
        env=environment(threads),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a worker: so many threads for every library, and no network."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [_PLACE, os.environ.get("PYTHONPATH")])),
        **dict.fromkeys(_THREADS, str(threads)),
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE else line[: _LINE - 2] + " …"
