"""A run once more: the arguments of `bertie.finetune` that its ``run.json`` keeps."""

import os
from inspect import signature
from pathlib import Path
from typing import Any

from bertie.data import Format
from bertie.errors import InputError
from bertie.files import read_json
from bertie.finetuning.api import finetune
from bertie.hub import sha256
from bertie.progress import logger
from bertie.run_files import RUN, data_files
from bertie.settings import Settings, describe_settings


def arguments_of(run: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what `bertie.finetune` takes to do a run again, with its settings as they were used.

    ``bertie.finetune(**bertie.finetuning.arguments_of("runs/first"), out="runs/again")``

    With the same data, machine and versions the weights come out the same. A file of the data that has changed since is
    warned of, and so are callbacks, which no file keeps. What the run read from Python objects has to be given again.

    Args:
        run: the folder of the run, or its ``run.json``.

    Raises:
        InputError: this is no fine-tuning's, or one of another version whose settings are unknown.
        CheckpointError: the file is missing or damaged.
    """
    path = Path(run) / RUN if Path(run).is_dir() else Path(run)
    found = read_json(path, "run")
    if not {"task", "train", "settings"} <= set(found) or not isinstance(found["settings"], dict):
        raise InputError(f"{str(path)!r} is not of a fine-tuning: it lacks task, train or settings.")
    unknown = sorted(set(found["settings"]) - set(describe_settings()))
    if unknown:
        raise InputError(f"{str(path)!r} has settings that this version of bertie lacks: {', '.join(unknown)}.")
    if found.pop("callbacks", None):
        logger.warning("The run had callbacks, which cannot be kept in a file; it is done again without them.")
    for name, digest in data_files(found).items():
        if Path(name).is_file() and sha256(Path(name)) != digest:
            logger.warning("%s is no longer what it was in that run.", name)
    if "rows" not in found:  # an older run, in which dev was called tune, and test dev
        found |= {"dev": found.get("tune"), "test": found.get("dev")}
        found |= {"report_to": "tensorboard"} if found.get("tensorboard") else {}
    found.pop("tune", None)
    given = {name: found[name] for name in signature(finetune).parameters if name in found}
    form, model = given.get("form"), given.get("model")
    made = {
        "settings": Settings(**found["settings"]),
        **({"form": Format(**form)} if isinstance(form, dict) else {}),
        **({"model": tuple(model)} if isinstance(model, list) else {}),
    }
    return given | made
