"""The mean of several models' weights as one model, as fast as each: a "model soup" (Wortsman et al. 2022).

It helps where the models started from the same weights, as those of several seeds or epochs did.
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
_ANY = frozenset(
    {
        *("_name_or_path", "transformers_version", "dtype", "torch_dtype", "task_specific_params", "finetuning_task"),
        *("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "initializer_range"),
    }
)
# Options of one model, tuned to its scores or said of its data.
_TUNED = ("temperature", "thresholds", "no_answer_threshold", "columns")
# Weights that differ by more than this share of their norm did not start from the same values.
FAR = 0.5


def average(models: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> list[str]:
    """Write the mean of several models' weights into a new folder, and return what should be known of it.

    ``bertie.average(["runs/seeds/seed-1", "runs/seeds/seed-2"], "runs/mean")``

    Temperatures and thresholds that were tuned for each model, and differ, are left out. Score the mean with
    `bertie.evaluate`: nothing says that it is better than each.

    Args:
        models: folders, or names in the hub, of two or more models.
        out: the new folder: the model, and what lies beside the weights of the first, such as its tokenizer.

    Raises:
        InputError: fewer than two models, or two that differ in class, shapes, labels, vocabulary, pooling or options.
        CheckpointError: a folder is missing or damaged, or ``out`` is not new.
    """
    if isinstance(models, str | os.PathLike) or len(set(map(str, models))) < 2:
        raise InputError(f"models is {short(models)}; a mean needs two different models, or more.")
    check_new(out)
    names = [str(name) for name in models]
    opened = [open_model(name) for name in names]
    for name, other in zip(names[1:], opened[1:], strict=True):
        _refuse_other(names[0], opened[0], name, other)
    notes = _origins(opened)
    states = [each.model.state_dict() for each in opened]
    far = _far(states)
    if far:
        notes.append(
            f"Tensors such as {far[0]!r} ({len(far)} of {len(states[0])}) differ by more than half their size: the "
            "models began from other weights there, and their mean may be worse than each."
        )
    mean = opened[0]
    mean.model.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    notes += _options(mean.model.config, [each.model.config for each in opened])
    for note in notes:
        logger.warning("%s", note)
    mean.write(out, mean.model, without=_NOT_COPIED)
    return notes


def _refuse_other(name: str, one: Opened, other_name: str, other: Opened) -> None:
    """Refuse a model that cannot be averaged with the first, naming what differs."""

    def refuse(what: str, first: Any, second: Any) -> None:
        if first != second:
            raise InputError(
                f"{other_name!r} has {what} {short(second)}, and {name!r} {short(first)}; a mean needs the same."
            )

    for opened, called in ((one, name), (other, other_name)):
        if opened.model.config.quantization_config is not None:
            raise InputError(f"{called!r} has weights of 8 bits; average the models that it was made from.")
        recipe = read_recipe(opened.folder)
        if any(layer.kind not in ("Normalize", "Dropout") for layer in (*recipe.token_layers, *recipe.layers)):
            raise InputError(f"{called!r} has layers of its own after the pooling, which are not averaged.")
    refuse("the class", type(one.model).__name__, type(other.model).__name__)
    fields, others = one.model.config.to_dict(), other.model.config.to_dict()
    for field in sorted({*fields, *others} - _ANY):
        refuse(f"the {field}", fields.get(field), others.get(field))
    shapes, of_other = ({key: list(each.shape) for key, each in at.model.state_dict().items()} for at in (one, other))
    for key in sorted({*shapes, *of_other}):
        refuse(f"{key} of shape", shapes.get(key), of_other.get(key))
    words, others_words = one.tokenizer.get_vocab(), other.tokenizer.get_vocab()
    for word in words.keys() | others_words.keys() if words != others_words else ():
        refuse(f"the token {word!r} at id", words.get(word), others_words.get(word))
    backends = [getattr(at.tokenizer, "backend_tokenizer", None) for at in (one, other)]
    if len({type(at.tokenizer) for at in (one, other)}) > 1 or len({at and at.to_str() for at in backends}) > 1:
        raise InputError(f"{other_name!r} and {name!r} part texts otherwise; a mean needs the same tokenizer.")
    if read_recipe(one.folder) != read_recipe(other.folder):
        raise InputError(f"{other_name!r} and {name!r} make vectors otherwise; a mean needs the same pooling.")


def _origins(opened: Sequence[Opened]) -> list[str]:
    """Return a sentence if the models' own folders say that they began from different ones."""
    known = {str(read_run(each.folder).get("model")) for each in opened} - {"None"}
    if len(known) < 2:
        return []
    return [f"They were fine-tuned from different models: {', '.join(map(repr, sorted(known)))}."]


def _far(states: Sequence[dict[str, Tensor]]) -> list[str]:
    """Return the names of the matrices that are far from each other's."""
    found = []
    for name, first in states[0].items():
        if not first.is_floating_point() or first.dim() < 2:
            continue
        size = first.double().norm()
        if any((state[name].double() - first.double()).norm() > FAR * size for state in states[1:]):
            found.append(name)
    return found


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """Return the mean, added up in float64; what counts or numbers is the same everywhere."""
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack([each.double() for each in tensors]).mean(dim=0).to(tensors[0].dtype)


def _options(config: Any, configs: Sequence[Any]) -> list[str]:
    """Leave in ``config`` the tasks' options that all models have alike; return a sentence if others are left out."""
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
    return [f"The models differ in {' and '.join(left_out)}, tuned for each model alone; their mean is left without."]
