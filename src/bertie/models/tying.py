"""Which parameters of a model are one: the pairs that its class ties, looked at in the model as it is now."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn


class Pair(NamedTuple):
    """An alias and the parameter it stands for, by name and as they are."""

    alias: str
    source: str
    alias_parameter: nn.Parameter
    source_parameter: nn.Parameter


def tied_pairs(model: Any) -> Iterator[Pair]:
    """Yield the pairs to be tied whose both sides the model has.

    One side is missing where an adapter wraps the decoder or the embeddings and ties what is inside it, and where a
    decoder has no bias.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for alias, source in model.tied_weights().items():
        if alias in parameters and source in parameters:
            yield Pair(alias, source, parameters[alias], parameters[source])


def tied_aliases(model: Any) -> dict[str, str]:
    """Return alias → source of the pairs that are one parameter in this model, and will be again when it is loaded."""
    return {pair.alias: pair.source for pair in tied_pairs(model) if pair.alias_parameter is pair.source_parameter}
