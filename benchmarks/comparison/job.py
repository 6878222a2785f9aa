"""Job: everything a worker process is told, as a JSON file, and where an engine keeps its converted model."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bertie.files import atomic
from comparison.workload import Workload


@dataclass(frozen=True)
class Job:
    """A workload for one engine.

    Attributes:
        workload: what is run.
        engine: the engine's name in `comparison.engines.table`.
        threads: how many threads it may use.
        device: "cpu" or a CUDA device.
        cache: the folder of converted models.
        versions: the packages the engine comes from; another version converts anew.
    """

    workload: Workload
    engine: str
    threads: int
    device: str
    cache: str
    versions: str = ""

    @property
    def workers(self) -> int:
        """How many batches a runtime that can do so computes at once: texts that are all there need not wait."""
        return self.threads if self.workload.measure == "throughput" else 1

    @property
    def converted(self) -> Path:
        """The folder of the model in the engine's own format: another model, task or version has another."""
        work = self.workload
        weights = sorted(Path(work.model).glob("*.safetensors")) + sorted(Path(work.model).glob("*.json"))
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weights]
        asked = (work.model, work.task, work.pooling, work.normalize, work.max_length, self.versions, files)
        return Path(self.cache) / f"{self.engine}-{hashlib.sha256(repr(asked).encode()).hexdigest()[:16]}"

    def write(self, path: Path) -> None:
        """Write the job to ``path``."""
        with atomic(path) as file:
            file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Job":
        """Return the job in ``path``."""
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        work = fields.pop("workload")
        return cls(workload=Workload(**{**work, "texts": tuple(work["texts"])}), **fields)
