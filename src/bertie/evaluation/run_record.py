"""Files to be scored on that a model has learned from already, by the record of the run in its folder."""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bertie.data.records import digests_of
from bertie.run_files import data_files, read_run


def warnings_of_learned(data: object, model: object) -> list[str]:
    """Return a sentence for each file of ``data`` that the model in a folder learned from, or was chosen by."""
    run = read_run(model) if isinstance(model, str | os.PathLike) else {}
    learned = {digest for name, digest in data_files(run).items() if not _is_of(name, run.get("test"))}
    return [
        f"{name} is a file that {str(model)!r} learned from or was chosen by: on other rows it will be worse."
        for name, digest in (digests_of(data).items() if learned else ())
        if digest in learned
    ]


def _is_of(name: str, source: Any) -> bool:
    """Whether a file is one that a source names: by its own name, its folder's or a pattern."""
    named = source if isinstance(source, list) else [source] if isinstance(source, str) else []
    return any(fnmatchcase(name, str(Path(one))) or Path(one) in Path(name).parents for one in named)
