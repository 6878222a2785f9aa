"""One experiment from rows to figures: for every seed the systems train in turn, then all are scored."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from experiments import Experiment, Reading, Size, System
from job import Job
from scoring import Answers, answers
from starting import Parts, copy_recipe, make_start

from comparison import machine

HERE = Path(__file__).resolve().parent
Tell = Callable[[str], None]


def resized(size: Size, options: argparse.Namespace) -> Size:
    """Return a size with what the command line names in its place."""
    named = {"train": options.rows, "dev": options.dev_rows, "epochs": options.epochs, "seeds": options.seeds}
    return replace(size, **{name: value for name, value in named.items() if value is not None})


def line_name(system: System, reading: Reading) -> str:
    """Return what a line of the table is called."""
    return f"{system.name}, {reading.name}" if reading.name else system.name


class Measuring:
    """One run of an experiment.

    Args:
        experiment: what is compared.
        size: how much of it.
        threads: of every system.
        folder: for models and rows.
        everyone: False leaves out systems that only a whole run has time for.
    """

    def __init__(self, experiment: Experiment, size: Size, threads: int, folder: Path, everyone: bool) -> None:
        self.experiment, self.size, self.threads, self.folder = experiment, size, threads, folder
        self.everyone = everyone
        self.efforts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.figures: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.differences: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)

    def run(self, tell: Tell) -> dict[str, Any]:
        """Train and score; return everything as JSON takes it."""
        self.parts = Parts.of(self.experiment, self.size)
        self.parts.write(self.folder)
        for seed in range(self.size.seeds):
            self._seed(seed, tell)
        return self._result()

    def _seed(self, seed: int, tell: Tell) -> None:
        start = self.folder / "start"
        make_start(self.experiment, self.parts.train, seed, start)
        systems = [each for each in self.experiment.systems if each.always or (self.everyone and seed == 0)]
        for system in systems[::-1] if seed % 2 else systems:
            effort = self._train(system, seed)
            self.efforts[system.name].append(effort)
            tell(f"seed {seed}, {system.name}: {effort['seconds']:.1f} s")
        given = self._answers(systems)
        for line, answered in given.items():
            self.figures[line].append(answered.figures())
        for first, second in self.experiment.compared:
            names = line_name(*first), line_name(*second)
            self.differences[names].append(given[names[0]].better_than(given[names[1]]))
        for line in given:
            said = {name: self.figures[line][-1][name] for name in self.experiment.figures}
            tell(f"seed {seed}, {line}: {said}")
        for system in systems:
            shutil.rmtree(self._out(system))

    def _train(self, system: System, seed: int) -> dict[str, Any]:
        experiment, out = self.experiment, self._out(system)
        out.mkdir()
        if experiment.task == "embedding":
            copy_recipe(self.folder / "start", out)
        job = Job(
            trainer=system.trainer,
            task=experiment.task,
            kind=experiment.kind,
            start=str(self.folder / "start"),
            train=str(self.folder / "train.jsonl"),
            dev=str(self.folder / "few.jsonl"),
            out=str(out),
            seed=seed,
            epochs=self.size.epochs,
            learning_rate=experiment.learning_rate,
            batch_size=experiment.batch_size,
            max_length=experiment.max_length,
            threads=self.threads,
            options=dict(system.options),
        )
        told = self.folder / "job.json"
        told.write_text(json.dumps(job.to_dict()), encoding="utf-8")
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        command = [sys.executable, str(HERE / "train.py"), str(told)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{experiment.name}, {system.name}: {done.stdout}{done.stderr}")
        found: dict[str, Any] = json.loads((out / "effort.json").read_text(encoding="utf-8"))
        return found

    def _answers(self, systems: list[System]) -> dict[str, Answers]:
        torch.set_num_threads(self.threads)
        return {line_name(system, reading): answered for system in systems for reading, answered in self._of(system)}

    def _of(self, system: System) -> list[tuple[Reading, Answers]]:
        parts, readings = self.parts, self.experiment.readings
        found = answers(self.experiment, self._out(system), readings, parts.dev, parts.tune)
        return [(reading, found[reading.name]) for reading in readings]

    def _out(self, system: System) -> Path:
        return self.folder / system.name.replace(" ", "-").replace(",", "")

    def _result(self) -> dict[str, Any]:
        experiment, parts = self.experiment, self.parts
        return {
            "name": experiment.name,
            "title": experiment.title,
            "note": experiment.note,
            "figures": list(experiment.figures),
            "start": experiment.start,
            "rows": {"train": len(parts.train), "tune": len(parts.tune), "dev": len(parts.dev)},
            "epochs": self.size.epochs,
            "learning_rate": experiment.learning_rate,
            "batch_size": experiment.batch_size,
            "max_length": experiment.max_length,
            "threads": self.threads,
            "machine": machine.describe(),
            "versions": {name: version(name) for name in ("bertie", "torch", "transformers", "sentence-transformers")}
            | {"python": platform.python_version()},
            "base": experiment.base.name,
            "systems": self.efforts,
            "lines": [
                {"line": line_name(system, reading), "system": system.name, "seeds": self.figures[name]}
                for system in experiment.systems
                for reading in experiment.readings
                if (name := line_name(system, reading)) in self.figures
            ],
            "differences": [
                {"first": first, "second": second, "seeds": seeds}
                for (first, second), seeds in self.differences.items()
            ],
        }
