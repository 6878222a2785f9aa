"""What the files in a run's folder are called, and the arguments that its ``run.json`` keeps. It needs no PyTorch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.files import read_json

RUN = "run.json"  # arguments and settings
LOG = "metrics.jsonl"
STATE = "state"
TENSORBOARD = "tensorboard"
RESULTS = "results.json"
REPORT, HTML_REPORT, MODEL_CARD = "report.md", "report.html", "README.md"


def read_run(run: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the arguments of the run in a folder; nothing if it holds none."""
    path = Path(run) / RUN
    return read_json(path, "run") if path.is_file() else {}


def data_files(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of data that a run's arguments name, and the SHA-256 of each; none of another kind of run."""
    data = run.get("data")
    files = data.get("files") if isinstance(data, dict) else None
    return files if isinstance(files, dict) else {}
