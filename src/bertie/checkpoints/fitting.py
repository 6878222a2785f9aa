"""Assigning stored tensors to a model's parameters, and finding all that do not fit, before any is read."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bertie.checkpoints.folder import Checkpoint
from bertie.checkpoints.names import DECODER, WORDS, canonical, is_encoder
from bertie.checkpoints.parameters import CLASSES, Parameters
from bertie.checkpoints.tensors import FLOATS, TensorInfo, check_float
from bertie.config import BertConfig
from bertie.errors import CheckpointError, ShapeError
from bertie.messages import listed
from bertie.progress import say_once

# the classes whose heads can have the same names and shapes in a file
INTERCHANGEABLE_HEADS = (
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
)


@dataclass
class Fit:
    """The assignment of a checkpoint's tensors to a model's parameters, by name."""

    stored: dict[str, str] = field(default_factory=dict)  # parameter → tensor in the file
    missing: list[str] = field(default_factory=list)  # parameters without a tensor
    unexpected: list[str] = field(default_factory=list)  # tensors without a parameter
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)


def fit(
    shapes: Mapping[str, tuple[int, ...]],
    checkpoint: Checkpoint,
    aliases: Mapping[str, Sequence[str]],
    ignore_mismatched_sizes: bool = False,
    integers: Collection[str] = (),
    is_tied: bool = False,
) -> Fit:
    """Assign tensors to the parameters in ``shapes``; each may also be stored under one of its ``aliases``.

    ``integers`` names the parameters that hold 8-bit integers. If the config ties the decoder to the word embeddings
    (``is_tied``), a file may hold them under the decoder's name only, even for a model without a decoder.
    """
    tensors = _canonical_names(checkpoint)
    found = Fit()
    used: set[str] = set()
    for parameter, shape in shapes.items():
        names = [canonical(name) or name for name in (parameter, *aliases.get(parameter, ()))]
        used.update(names)
        if is_tied and names[0] == WORDS:
            names.append(DECODER)
        name = next((tensors[name] for name in names if name in tensors), None)
        if name is None:
            found.missing.append(parameter)
            continue
        info = checkpoint.infos[name]
        if parameter not in integers:
            check_float(name, info)
        if info.shape == tuple(shape):
            found.stored[parameter] = name
        else:
            found.mismatched.append((parameter, info.shape, tuple(shape)))
    found.unexpected = [stored for name, stored in tensors.items() if name not in used]
    _check_missing(found, checkpoint)
    if found.mismatched and not ignore_mismatched_sizes:
        _refuse_shapes(found, checkpoint)
    return found


def other_classes(shapes: Mapping[str, tuple[int, ...]], config: BertConfig, checkpoint: Checkpoint) -> int | None:
    """Return the number of classes of the stored head if it differs from a config's whose classes have no names."""
    number = config.num_labels
    if list(config.id2label.values()) != [f"LABEL_{index}" for index in range(number)]:
        return None
    counts = set()
    for name, info in checkpoint.infos.items():
        shape = shapes.get(canonical(name) or name)
        if shape and not is_encoder(canonical(name) or name) and info.shape[1:] == shape[1:]:
            counts |= {info.shape[0]} if shape[0] == number != info.shape[0] else set()
    return counts.pop() if len(counts) == 1 else None


def untied(ties: Mapping[str, str], checkpoint: Checkpoint) -> list[str]:
    """Return the aliases in ``ties`` (alias → source) whose stored values differ from their source's.

    The saved model did not tie them; a warning says so.
    """
    stored = {canonical(name): name for name in checkpoint.infos}
    found = []
    for alias, source in ties.items():
        one, two = (stored.get(canonical(name)) for name in (alias, source))
        if one is None or two is None or checkpoint.infos[one].shape != checkpoint.infos[two].shape:
            continue
        types = {checkpoint.infos[name].dtype for name in (one, two)}
        if len(types) > 1 and not types <= set(FLOATS):
            continue
        numbers = checkpoint.array if len(types) == 1 else checkpoint.float32
        if not np.array_equal(numbers(one), numbers(two)):
            say_once(f"{str(checkpoint.path)!r} has different values in {one!r} and {two!r}: they are not tied")
            found.append(alias)
    return found


def with_untied(parameters: Parameters, checkpoint: Checkpoint) -> Parameters:
    """Return parameters in which the aliases that `untied` finds are parameters of their own."""
    ties = {alias: source for source, names in parameters.aliases.items() for alias in names}
    own = untied(ties, checkpoint)
    aliases = {source: [name for name in names if name not in own] for source, names in parameters.aliases.items()}
    return Parameters(parameters.shapes | {alias: parameters.shapes[ties[alias]] for alias in own}, aliases)


def _canonical_names(checkpoint: Checkpoint) -> dict[str, str]:
    """Return canonical name → stored name, without derived buffers."""
    tensors: dict[str, str] = {}
    for stored in checkpoint.infos:
        name = canonical(stored)
        if name in tensors:
            raise CheckpointError(
                f"{str(checkpoint.path)!r} has {tensors[name]!r} and {stored!r}, which are two names of one tensor; "
                "remove the wrong one"
            )
        if name is not None:
            tensors[name] = stored
    return tensors


def _check_missing(found: Fit, checkpoint: Checkpoint) -> None:
    missing = [name for name in found.missing if is_encoder(canonical(name) or name)]
    if missing and not any(is_encoder(canonical(name) or name) for name in found.stored):
        raise CheckpointError(
            f"{str(checkpoint.path)!r} is not a BERT: none of its {len(checkpoint.infos)} tensors "
            f"({listed(list(checkpoint.infos), 3)}) is an encoder's, such as {missing[0]!r}; give a BERT checkpoint"
        )
    if missing:
        raise CheckpointError(
            f"{str(checkpoint.path)!r} lacks {len(missing)} tensors of the encoder ({listed(missing)}); "
            "the file is incomplete, or config.json describes another model"
        )


def _refuse_shapes(found: Fit, checkpoint: Checkpoint) -> None:
    parts = [
        f"{name} is {list(stored)} in the file and {list(shape)} in the model"
        for name, stored, shape in found.mismatched
    ]
    raise ShapeError(
        f"{str(checkpoint.path)!r} does not fit the config: {'; '.join(parts[:4])}"
        f"{f' and {len(parts) - 4} more' if len(parts) > 4 else ''}; correct the config, or pass "
        "ignore_mismatched_sizes=True to initialise these"
    )


def main_dtype(infos: Sequence[TensorInfo]) -> str:
    """Return the floating-point dtype of most elements; float32 if there are none."""
    elements = {dtype: sum(info.elements for info in infos if info.dtype == dtype) for dtype in FLOATS}
    return max(FLOATS, key=lambda dtype: elements[dtype])


def report(source: str, found: Fit) -> None:
    """Log which parameters and tensors do not match; ``source`` names the model."""
    new = [*found.missing, *(name for name, _, _ in found.mismatched)]
    if new:
        say_once(
            f"{source}: {listed(new)} newly initialised, as the checkpoint has none of this shape; train before use"
        )
    unread = [name for name in found.unexpected if is_encoder(name) or is_encoder(f"bert.{name}")]
    if unread:
        say_once(
            f"{source}: the config has no place for the checkpoint's encoder weights {listed(unread)}; they are ignored"
        )
    if found.unexpected:
        say_once(f"{source}: the checkpoint's {listed(found.unexpected, 20)} are not used", logging.INFO)


def correct_classes(
    config: BertConfig, shapes: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint, source: str
) -> bool:
    """Set a config's number of classes to that of the stored head, with a warning; return whether they differed."""
    classes = other_classes(shapes, config, checkpoint)
    if classes is None:
        return False
    say_once(
        f"{source}: the weights have {classes} classes, the config {config.num_labels}; the weights' number is used"
    )
    config.num_labels = classes
    return True


def refuse_untrained(source: str, lacking: Iterable[str], architecture: str, config: BertConfig) -> None:
    """Refuse a model if parameters that answers depend on are missing or mismatched in its checkpoint."""
    if names := needed_by_answers(lacking, config):
        raise CheckpointError(
            f"{source!r} lacks {listed(names)} of {architecture}: it holds another model, or one whose head was never "
            "trained; fine-tune it first"
        )


def refuse_other_head(source: str, architecture: str, config: BertConfig) -> None:
    """Refuse a checkpoint whose config names a class with another head, which only looks like the wanted one."""
    if made := other_head(config, architecture):
        wanted = config.family.class_name(architecture)
        raise CheckpointError(
            f"{source!r} holds a {made}, by its config.json, and a {wanted}'s head was never trained in it; "
            'fine-tune it first, or correct "architectures" there'
        )


def other_head(config: BertConfig, architecture: str) -> str | None:
    """Return the class that a config names if its head could be mistaken for that of ``architecture``, else None."""
    named = [name.removeprefix("TF").removeprefix("Flax") for name in config.architectures or ()]
    if architecture not in INTERCHANGEABLE_HEADS or architecture in named:
        return None
    other = next((name for name in named if name in CLASSES and name != "BertModel"), None)
    return None if other is None else config.family.class_name(other)


def needed_by_answers(lacking: Iterable[str], config: BertConfig) -> list[str]:
    """Return those of a checkpoint's missing parameters that answers depend on."""
    # an untied decoder adds its own bias, never cls.predictions.bias
    return [name for name in lacking if name != "cls.predictions.bias" or config.tie_word_embeddings]
