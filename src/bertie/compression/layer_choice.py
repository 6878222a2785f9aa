"""A model with some of another's layers, for the start of a student and for pruning."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from torch import nn

from bertie.errors import InputError, spelled
from bertie.messages import short
from bertie.models.pretrained import BertPreTrainedModel

Model = TypeVar("Model", bound=BertPreTrainedModel)


def with_layers(model: Model, layers: Sequence[int]) -> Model:
    """Return a copy of a model with only these of its layers, numbered from 0."""
    kept = copy.deepcopy(model)
    encoder: Any = kept.base_model.encoder
    encoder.layer = nn.ModuleList(encoder.layer[number] for number in layers)
    for number, layer in enumerate(encoder.layer):
        layer.attention.self.layer_idx = number
    kept.config.num_hidden_layers = len(layers)
    return kept


def chosen_layers(layers: int | Sequence[int], count: int) -> list[int]:
    """Return which of ``count`` layers a student gets: those named, or that number, evenly spaced up to the last."""
    if not isinstance(layers, Iterable):
        if not 1 <= layers < count:
            raise InputError(f"{spelled('layers')} is {layers}; the teacher has {count}: allowed: 1 to {count - 1}.")
        return [round((number + 1) * count / layers) - 1 for number in range(layers)]
    named = list(layers)
    if not named or named != sorted(set(named)) or not 0 <= named[0] <= named[-1] < count:
        raise InputError(
            f"{spelled('layers')} is {short(named)}; name some of the teacher's {count}, from 0 to {count - 1} in "
            "ascending order."
        )
    return named
