"""Repeating a run: the arguments of `bertie.finetune` from its ``run.json``."""

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
    """Return the arguments of `bertie.finetune` that repeat a run, with the settings that it used.

    ``bertie.finetune(**bertie.finetuning.arguments_of("runs/first"), out="runs/again")``

    With the same data, machine and versions, the weights come out the same. A warning names data files that have
    changed since, and callbacks, which are not saved. Data that the run read from Python objects must be given again.

    Args:
        run: the folder of the run, or its ``run.json``.

    Raises:
        InputError: this is not a fine-tuning run, or it has settings that this version lacks.
        CheckpointError: the file is missing or damaged.
    """
    path = Path(run) / RUN if Path(run).is_dir() else Path(run)
    found = read_json(path, "run")
    if not {"task", "train", "settings"} <= set(found) or not isinstance(found["settings"], dict):
        raise InputError(f"{str(path)!r} is not from a fine-tuning: it lacks task, train or settings.")
    unknown = sorted(set(found["settings"]) - set(describe_settings()))
    if unknown:
        raise InputError(f"{str(path)!r} has settings that this version of bertie lacks: {', '.join(unknown)}.")
    if found.pop("callbacks", None):
        logger.warning("The run had callbacks, which are not saved; it is repeated without them.")
    for name, digest in data_files(found).items():
        if Path(name).is_file() and sha256(Path(name)) != digest:
            logger.warning("%s has changed since that run.", name)
    if "rows" not in found:  # an older run, in which dev was called tune, and test was called dev
        found |= {"dev": found.get("tune"), "test": found.get("dev")}
        found |= {"report_to": "tensorboard"} if found.get("tensorboard") else {}
    found.pop("tune", None)
    given = {name: found[name] for name in signature(finetune).parameters if name in found}
    form, model = given.get("form"), given.get("model")
    converted = {
        "settings": Settings(**found["settings"]),
        **({"form": Format(**form)} if isinstance(form, dict) else {}),
        **({"model": tuple(model)} if isinstance(model, list) else {}),
    }
    return given | converted
