"""The names of tensors: one table between those of old checkpoints and those of today, read in both directions.

The canonical name of a tensor is the one it has in a task model: ``bert.encoder.layer.0.…``, ``cls.predictions.bias``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from bertie.families import PREFIXES, Family

Value = TypeVar("Value")
# old ending → today's; (the TensorFlow code called LayerNorm's parameters gamma and beta)
ENDINGS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
PREFIX = "bert."
WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"
TRANSFORM = "cls.predictions.transform.dense.weight"  # which every head for words has, tied or not
# the parts of a bare encoder, which a checkpoint saved from one names without the prefix
BARE_PARTS = ("embeddings.", "encoder.", "pooler.")
_BARE_PARTS_OF_SIBLINGS = (*BARE_PARTS, "transformer.", "embeddings_project.")
# buffers that older versions saved; they follow from the config
DERIVED = ("embeddings.position_ids", "embeddings.token_type_ids")
# of int8 layers: older versions rounded rows within a range that was found for all of them
OLD_RANGE = ".input_range"
# what DataParallel and Lightning put before the names of a model's tensors, and torch.compile before those of any part
WRAPPERS = ("module.", "model.")
COMPILED = "_orig_mod."
# of a BERT; of the encoder of a pair of BERTs, which canonical names put below bert.; of their decoder
_PRETRAINED = re.compile(r"(bert\.(encoder\.)?|decoder\.bert\.)(embeddings|encoder\.(layer|relative_attention_bias))\.")
_WORDS = re.compile(
    rf"((?:{'|'.join(map(re.escape, WRAPPERS))})*)(?:(?:{'|'.join(PREFIXES)})\.)?embeddings\.word_embeddings\.weight"
)


def unwrapped(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return (name, stored name) of the tensors of a model that was saved within others, read off its word embeddings.

    Put together again, wrapper and name are the stored name, except for the parts that were compiled.
    """
    pairs = [(re.sub(rf"(?<![^.]){re.escape(COMPILED)}", "", name), name) for name in names]
    wrapper = max((found[1] for name, _ in pairs if (found := _WORDS.fullmatch(name))), key=len, default="")
    return [(name.removeprefix(wrapper), stored) for name, stored in pairs]


def canonical(name: str) -> str | None:
    """Return today's full name of a stored tensor, or None for one that is not needed."""
    if name.removeprefix(PREFIX) in DERIVED or name.endswith(OLD_RANGE):
        return None
    if name.startswith(BARE_PARTS):
        name = PREFIX + name
    for ending, other in ENDINGS.items():
        if name.endswith("." + ending):
            return name.removesuffix(ending) + other
    return name


def from_family(name: str, family: Family, architecture: str) -> str:
    """Return BERT's name of a tensor that a sibling's checkpoint holds, for the class that BERT calls ``architecture``.

    One that has none keeps its own, behind the family's, so that it is no other tensor's.
    """
    modules = family.modules_of(architecture)
    whole = f"{family.prefix}.{name}" if name.startswith(_BARE_PARTS_OF_SIBLINGS) else name
    ours = _renamed(whole, {theirs: path for path, theirs in modules.items()})
    return ours if _renamed(ours, modules) == whole else f"{family.prefix}.{name}"


def to_family(name: str, family: Family, architecture: str) -> str:
    """Return a sibling's name of one of our tensors: what `from_family` undoes; without a prefix if it has none."""
    whole = canonical(name) or name
    theirs = _renamed(whole, family.modules_of(architecture))
    return theirs if whole == name else theirs.removeprefix(f"{family.prefix}.")


def in_names_of(family: Family, tensors: Mapping[str, Value], architecture: str) -> dict[str, Value]:
    """Return a model's tensors by the names that its family's files have."""
    return {name if family.is_bert else to_family(name, family, architecture): each for name, each in tensors.items()}


def _renamed(name: str, modules: Mapping[str, str]) -> str:
    parts = name.split(".")
    number = next((part for part in parts if part.isdecimal()), "*")
    path = ["*" if part.isdecimal() else part for part in parts]
    for stop in range(len(parts), 0, -1):
        if (found := modules.get(".".join(path[:stop]))) is not None:
            return ".".join((found.replace("*", number), *parts[stop:]))
    return name


def is_encoder(name: str) -> bool:
    """Whether a canonical name belongs to the pretrained encoder, which a checkpoint must have.

    Pooler and heads may be new, and so may the cross-attention that a decoder adds to a pretrained encoder.
    """
    return _PRETRAINED.match(name) is not None and ".crossattention." not in name
