"""The layers of a BERT that become int8, grouped by common input, and which of these inputs may be smoothed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from bertie.errors import InputTypeError
from bertie.layers.block import BertLayer
from bertie.layers.int8 import Int8Embedding, Int8Linear
from bertie.layers.linear import Linear

# the projections of a block, grouped by common input; classification heads stay in floating point
_IN_A_BLOCK = (
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    ("attention.output.dense",),
    ("crossattention.self.query",),
    ("crossattention.self.key", "crossattention.self.value"),
    ("crossattention.output.dense",),
    ("intermediate.dense",),
    ("output.dense",),
)
# Their inputs come from a LayerNorm, and have a few outlier channels that are the same for all tokens. Inputs of other
# layers have outliers in different channels for single tokens, for which smoothing would lose precision.
_SMOOTHED = ("attention.self.query", "intermediate.dense")
_OUTSIDE = ("pooler.dense", "cls.predictions.transform.dense", "cls.predictions.decoder")


@dataclass(frozen=True)
class Group:
    """Names of layers with a common input, and whether its channels may be rescaled (SmoothQuant)."""

    names: tuple[str, ...]
    smoothed: bool = False

    @property
    def first(self) -> str:
        return self.names[0]

    def __str__(self) -> str:
        return ", ".join(self.names)


def groups(model: nn.Module) -> list[Group]:
    """Return the groups of a model, in the order of computation."""
    modules = dict(model.named_modules())
    found = []
    for name, block in modules.items():
        if isinstance(block, BertLayer):
            for names in _IN_A_BLOCK:
                if (full := tuple(f"{name}.{each}" for each in names))[0] in modules:
                    found.append(Group(full, names[0] in _SMOOTHED))
    found += [Group((name,)) for name in modules if name.endswith(_OUTSIDE)]
    for name in [name for group in found for name in group.names]:
        _check_plain(name, modules[name])
    return found


def word_tables(model: nn.Module) -> Iterator[str]:
    """Yield the names of the word embeddings."""
    for name, module in model.named_modules():
        if name.endswith("word_embeddings") and isinstance(module, nn.Embedding):
            yield name


def _check_plain(name: str, module: Any) -> None:
    if isinstance(module, Int8Linear | Int8Embedding):
        raise InputTypeError("The model is int8 already; quantize its floating-point version.")
    if type(cast(object, module)) not in (nn.Linear, Linear):
        raise InputTypeError(
            f"{name!r} is a {type(module).__name__}, not a plain nn.Linear; merge adapters into the model, then "
            "quantize it."
        )
