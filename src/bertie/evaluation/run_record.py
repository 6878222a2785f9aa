"""Leakage: files to score a model on that it was trained on, found by the run record in the model's folder."""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bertie.data.records import digests_of
from bertie.run_files import data_files, read_run


def leakage_warnings(data: object, model: object) -> list[str]:
    """Return a warning for each file of ``data`` that the model was trained on or selected by."""
    run = read_run(model) if isinstance(model, str | os.PathLike) else {}
    seen = {digest for name, digest in data_files(run).items() if not _belongs_to(name, run.get("test"))}
    return [
        f"{str(model)!r} was trained on {name} or selected by it: on other rows it will be worse."
        for name, digest in (digests_of(data).items() if seen else ())
        if digest in seen
    ]


def _belongs_to(name: str, source: Any) -> bool:
    """Whether a source names this file, by its path, its folder or a pattern."""
    sources = source if isinstance(source, list) else [source] if isinstance(source, str) else []
    return any(fnmatchcase(name, str(Path(one))) or Path(one) in Path(name).parents for one in sources)
