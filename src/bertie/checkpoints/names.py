"""Tensor names: from those of old checkpoints and of BERT's siblings to canonical ones, and back to the siblings'.

A tensor's canonical name is the one in a task model of BERT: ``bert.encoder.layer.0.…``, ``cls.predictions.bias``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from bertie.families import PREFIXES, Family

Value = TypeVar("Value")
# old suffix → current; TensorFlow calls LayerNorm's parameters gamma and beta
SUFFIXES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
PREFIX = "bert."
WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"
TRANSFORM = "cls.predictions.transform.dense.weight"  # every masked-LM head has it, tied or not
# the parts of a bare encoder, whose checkpoints omit the prefix
BARE_PARTS = ("embeddings.", "encoder.", "pooler.")
_BARE_PARTS_OF_SIBLINGS = (*BARE_PARTS, "transformer.", "embeddings_project.")
# buffers that older versions saved, although they follow from the config
_DERIVED = ("embeddings.position_ids", "embeddings.token_type_ids")
# of int8 layers: older versions quantised all rows with one static range
OLD_RANGE = ".input_range"
# prefixes that DataParallel and Lightning add to a model's tensor names; torch.compile adds its own anywhere in them
WRAPPERS = ("module.", "model.")
COMPILED = "_orig_mod."
# of a BERT; of the encoder of an encoder-decoder, whose canonical name starts with bert.encoder; of its decoder
_PRETRAINED = re.compile(r"(bert\.(encoder\.)?|decoder\.bert\.)(embeddings|encoder\.(layer|relative_attention_bias))\.")
_WORDS = re.compile(
    rf"((?:{'|'.join(map(re.escape, WRAPPERS))})*)(?:(?:{'|'.join(PREFIXES)})\.)?embeddings\.word_embeddings\.weight"
)


def unwrapped(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return (name without wrappers, stored name) of each tensor; the prefix is that of the word embeddings.

    Prefix and name together give the stored name, apart from torch.compile's infix.
    """
    pairs = [(re.sub(rf"(?<![^.]){re.escape(COMPILED)}", "", name), name) for name in names]
    wrapper = max((found[1] for name, _ in pairs if (found := _WORDS.fullmatch(name))), key=len, default="")
    return [(name.removeprefix(wrapper), stored) for name, stored in pairs]


def canonical(name: str) -> str | None:
    """Return the canonical name of a stored tensor, or None for a derived one that is not needed."""
    if name.removeprefix(PREFIX) in _DERIVED or name.endswith(OLD_RANGE):
        return None
    if name.startswith(BARE_PARTS):
        name = PREFIX + name
    for old, new in SUFFIXES.items():
        if name.endswith("." + old):
            return name.removesuffix(old) + new
    return name


def from_family(name: str, family: Family, architecture: str) -> str:
    """Return BERT's name for a tensor in a sibling's checkpoint of BERT's class ``architecture``.

    A tensor without one keeps its own, prefixed with the family's, so that it cannot clash with BERT's.
    """
    modules = family.modules_of(architecture)
    whole = f"{family.prefix}.{name}" if name.startswith(_BARE_PARTS_OF_SIBLINGS) else name
    ours = _renamed(whole, {theirs: path for path, theirs in modules.items()})
    return ours if _renamed(ours, modules) == whole else f"{family.prefix}.{name}"


def to_family(name: str, family: Family, architecture: str) -> str:
    """Return a sibling's name for one of our tensors, the inverse of `from_family`; without a prefix if it has none."""
    whole = canonical(name) or name
    theirs = _renamed(whole, family.modules_of(architecture))
    return theirs if whole == name else theirs.removeprefix(f"{family.prefix}.")


def in_names_of(family: Family, tensors: Mapping[str, Value], architecture: str) -> dict[str, Value]:
    """Return a model's tensors under its family's names."""
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
    """Whether a canonical name belongs to the pretrained encoder, which every checkpoint must contain.

    Pooler, heads and the cross-attention that a decoder adds may be newly initialised.
    """
    return _PRETRAINED.match(name) is not None and ".crossattention." not in name
