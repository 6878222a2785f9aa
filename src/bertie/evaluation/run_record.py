"""What a model's folder records of the fine-tuning that made it: its arguments, and the files that it learned from."""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bertie.data.records import digests_of
from bertie.files import read_json

_PLAN = "run.json"  # as in `bertie.training.run_directory`, which needs PyTorch


def run_in(name: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the arguments of the fine-tuning in a folder; nothing if it holds none."""
    path = Path(name) / _PLAN
    return read_json(path, "run") if path.exists() else {}


def warnings_of_learned(data: object, model: object) -> list[str]:
    """Return a sentence for each file of ``data`` that the model in a folder learned from, or was chosen by."""
    run = run_in(model) if isinstance(model, str | os.PathLike) else {}
    files = kept.get("files") if isinstance(kept := run.get("data"), dict) else None
    if not isinstance(files, dict):
        return []
    learned = {digest for name, digest in files.items() if not _is_of(name, run.get("test"))}
    return [
        f"{name} is a file that {str(model)!r} learned from or was chosen by: on other rows it will be worse."
        for name, digest in digests_of(data).items()
        if digest in learned
    ]


def _is_of(name: str, source: Any) -> bool:
    """Whether a file is one that a source names: by its own name, its folder's or a pattern."""
    named = source if isinstance(source, list) else [source] if isinstance(source, str) else []
    return any(fnmatchcase(name, str(Path(one))) or Path(one) in Path(name).parents for one in named)
