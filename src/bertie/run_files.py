"""The names of the files in a run's folder, and reading the arguments in its ``run.json``. It needs no PyTorch."""

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
    """Return the arguments of the run in a folder, empty if there is no run."""
    path = Path(run) / RUN
    return read_json(path, "run") if path.is_file() else {}


def data_files(run: Mapping[str, Any]) -> dict[str, str]:
    """Return data file → SHA-256 from a run's arguments, empty for runs that do not record them."""
    data = run.get("data")
    files = data.get("files") if isinstance(data, dict) else None
    return files if isinstance(files, dict) else {}
