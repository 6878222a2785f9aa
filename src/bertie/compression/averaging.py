"""The mean of several models' weights as one model, as fast as each: a "model soup" (Wortsman et al. 2022).

It helps if the models started from the same weights, as those of several seeds or epochs do.
"""

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bertie.checkpoints.new_folder import check_new
from bertie.compression.folder import Opened, open_model
from bertie.errors import InputError
from bertie.messages import short
from bertie.progress import logger
from bertie.run_files import MODEL_CARD, RUN, read_run
from bertie.tasks.sentence_transformers_config import read_recipe

# Files of a fine-tuning that describe one model only.
_NOT_COPIED = (MODEL_CARD, RUN)
# Config fields that do not affect what the weights compute.
_IGNORED_FIELDS = frozenset(
    {
        *("_name_or_path", "transformers_version", "dtype", "torch_dtype", "task_specific_params", "finetuning_task"),
        *("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "initializer_range"),
    }
)
# Options of one model, tuned to its scores or describing its data.
_TUNED = ("temperature", "thresholds", "no_answer_threshold", "columns")
# Weights that differ by more than this share of their norm are assumed to have started from different values.
MAX_DISTANCE = 0.5


def average(models: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> list[str]:
    """Write the mean of several models' weights to a new folder, and return notes about it.

    ``bertie.average(["runs/seeds/seed-1", "runs/seeds/seed-2"], "runs/mean")``

    Temperatures and thresholds that were tuned for each model and differ are left out. Score the mean with
    `bertie.evaluate`: it is not guaranteed to be better than each.

    Args:
        models: folders or hub names of two or more models.
        out: the new folder for the model and the other files of the first, such as its tokenizer.

    Raises:
        InputError: fewer than two models, or two that differ in class, shapes, labels, vocabulary, pooling or options.
        CheckpointError: a folder is missing or damaged, or ``out`` is not new.
    """
    if isinstance(models, str | os.PathLike) or len(set(map(str, models))) < 2:
        raise InputError(f"models is {short(models)}; a mean needs at least two different models.")
    check_new(out)
    names = [str(name) for name in models]
    opened = [open_model(name) for name in names]
    for name, other in zip(names[1:], opened[1:], strict=True):
        _check_compatible(names[0], opened[0], name, other)
    notes = _origins(opened)
    states = [each.model.state_dict() for each in opened]
    distant = _distant(states)
    if distant:
        notes.append(
            f"Tensors such as {distant[0]!r} ({len(distant)} of {len(states[0])}) differ by more than half their norm: "
            "the models probably started from different weights, and their mean may be worse than each."
        )
    mean = opened[0]
    mean.model.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    notes += _options(mean.model.config, [each.model.config for each in opened])
    for note in notes:
        logger.warning("%s", note)
    mean.write(out, mean.model, without=_NOT_COPIED)
    return notes


def _check_compatible(name: str, one: Opened, other_name: str, other: Opened) -> None:
    """Refuse a model that cannot be averaged with the first, naming what differs."""

    def refuse(what: str, first: Any, second: Any) -> None:
        if first != second:
            raise InputError(
                f"{other_name!r} has {what} {short(second)}, and {name!r} {short(first)}; a mean needs the same."
            )

    for opened, name_of in ((one, name), (other, other_name)):
        if opened.model.config.quantization_config is not None:
            raise InputError(f"{name_of!r} has 8-bit weights; average the models that it was made from.")
        recipe = read_recipe(opened.folder)
        if any(layer.kind not in ("Normalize", "Dropout") for layer in (*recipe.token_layers, *recipe.layers)):
            raise InputError(f"{name_of!r} has additional sentence-transformers layers, which are not averaged.")
    refuse("the class", type(one.model).__name__, type(other.model).__name__)
    fields, others = one.model.config.to_dict(), other.model.config.to_dict()
    for field in sorted({*fields, *others} - _IGNORED_FIELDS):
        refuse(f"the {field}", fields.get(field), others.get(field))
    shapes, of_other = ({key: list(each.shape) for key, each in at.model.state_dict().items()} for at in (one, other))
    for key in sorted({*shapes, *of_other}):
        refuse(f"{key} of shape", shapes.get(key), of_other.get(key))
    words, others_words = one.tokenizer.get_vocab(), other.tokenizer.get_vocab()
    for word in words.keys() | others_words.keys() if words != others_words else ():
        refuse(f"the token {word!r} at id", words.get(word), others_words.get(word))
    backends = [getattr(at.tokenizer, "backend_tokenizer", None) for at in (one, other)]
    if len({type(at.tokenizer) for at in (one, other)}) > 1 or len({at and at.to_str() for at in backends}) > 1:
        raise InputError(f"{other_name!r} and {name!r} have different tokenizers; a mean needs the same.")
    if read_recipe(one.folder) != read_recipe(other.folder):
        raise InputError(f"{other_name!r} and {name!r} have different pooling; a mean needs the same.")


def _origins(opened: Sequence[Opened]) -> list[str]:
    """Return a note if the models' folders say that they were fine-tuned from different ones."""
    known = {str(read_run(each.folder).get("model")) for each in opened} - {"None"}
    if len(known) < 2:
        return []
    return [f"They were fine-tuned from different models: {', '.join(map(repr, sorted(known)))}."]


def _distant(states: Sequence[dict[str, Tensor]]) -> list[str]:
    """Return the names of the matrices that differ too much between models."""
    found = []
    for name, first in states[0].items():
        if not first.is_floating_point() or first.dim() < 2:
            continue
        size = first.double().norm()
        if any((state[name].double() - first.double()).norm() > MAX_DISTANCE * size for state in states[1:]):
            found.append(name)
    return found


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """Return the mean, summed in float64; integer buffers are the same in all models."""
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack([each.double() for each in tensors]).mean(dim=0).to(tensors[0].dtype)


def _options(config: Any, configs: Sequence[Any]) -> list[str]:
    """Keep in ``config`` only the task options that are equal in all models; return a note if others are dropped."""
    given = [getattr(each, "task_specific_params", None) or {} for each in configs]
    kept: dict[str, dict[str, Any]] = {}
    left_out = []
    for task in sorted({task for each in given for task in each}):
        saved = [each.get(task) or {} for each in given]
        for name in sorted({name for each in saved for name in each}):
            values = [each.get(name) for each in saved]
            if all(value == values[0] for value in values):
                kept.setdefault(task, {})[name] = values[0]
            elif name not in _TUNED:
                raise InputError(f"The models have different {name}: {short(values)}; a mean needs the same.")
            else:
                left_out.append(name)
    if any(given):
        config.task_specific_params = kept or None
    if not left_out:
        return []
    return [f"The models differ in {' and '.join(left_out)}, which were tuned for each; the mean has none."]
