"""Runs a model over texts, and records the inputs of its layers and its vectors of the texts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.batching import batches
from bertie.compression.groups import Group
from bertie.config import BertConfig
from bertie.models.multiple_choice import BertForMultipleChoice
from bertie.models.pretrained import BertPreTrainedModel
from bertie.models.task_model import TaskModel
from bertie.packing import Packed
from bertie.tasks.features import Features
from bertie.tasks.operations import Computed, operations_on

Key = TypeVar("Key")
# Rows of a layer's input that are sampled to compare outputs on.
ROWS = 512
# Tokens per batch.
BATCH = 1_024


class Encoding(Protocol):
    """The part of `bertie.tasks.model.Model` that computes hidden states."""

    @property
    def config(self) -> BertConfig: ...
    @property
    def threads(self) -> int: ...
    def hidden_states(self, features: Features, /) -> Computed: ...
    def with_threads(self, threads: int, /) -> Self: ...
    def inference(self) -> AbstractContextManager[Any]: ...


@dataclass
class Inputs:
    """The inputs of one group of layers: the largest magnitude of each channel ``[in]``, and some rows."""

    largest: Tensor
    rows: list[Tensor]

    @property
    def sample(self) -> Tensor:
        """Rows from all texts, float32 ``[<= ROWS, in]``."""
        rows = torch.cat(self.rows)
        return rows[torch.linspace(0, len(rows) - 1, min(ROWS, len(rows))).long()]


def batches_on(model: BertPreTrainedModel, texts: Features) -> Iterator[tuple[list[int], Packed]]:
    """Yield cache-sized batches on the model's device: the indices of the texts, and the texts."""
    for part in batches(texts.lengths, BATCH):
        yield part, TaskModel(model).packed(texts.select(part))


@contextmanager
def inputs_recorded(layers: Mapping[Key, nn.Module], record: Callable[[Key, Tensor], None]) -> Iterator[None]:
    """Within the block, call ``record`` with the key and the input of each layer that computes."""

    def hook(key: Key, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        record(key, inputs[0])

    handles = [layer.register_forward_pre_hook(partial(hook, key)) for key, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def observe(model: BertPreTrainedModel, groups: Sequence[Group], texts: Features) -> dict[Group, Inputs]:
    """Return the inputs of each group of layers when ``model`` reads ``texts``."""
    found: dict[Group, Inputs] = {}

    def record(group: Group, x: Tensor) -> None:
        x = x.detach().float()
        largest = x.abs().amax(dim=0)
        rows = x[:: max(1, len(x) // 64)].clone()
        if group in found:
            found[group].largest = torch.maximum(found[group].largest, largest)
            found[group].rows.append(rows)
        else:
            found[group] = Inputs(largest, [rows])

    with inputs_recorded({group: model.get_submodule(group.first) for group in groups}, record), torch.inference_mode():
        for _, packed in batches_on(model, texts):
            answer(model, packed)
    # clones outside of inference mode are ordinary tensors
    return {
        group: Inputs(inputs.largest.clone(), [row.clone() for row in inputs.rows]) for group, inputs in found.items()
    }


def answer(model: BertPreTrainedModel, packed: Packed) -> Any:
    """Return the model's output for a batch; for multiple choice, each text is one choice."""
    more = {"num_choices": 1} if isinstance(model, BertForMultipleChoice) else {}
    return model(packed, return_dict=True, **more)


def vectors(model: BertPreTrainedModel, texts: Features) -> Tensor:
    """As `vectors_of`, for a PyTorch model."""
    return vectors_of(TaskModel(model), texts)


def vectors_of(model: Encoding, texts: Features) -> Tensor:
    """Return two vectors of each text, ``[N, 2, D]``: the mean over its tokens, and its first token's."""
    found: list[Any] = [None] * len(texts.lengths)
    with model.inference():
        for part in batches(texts.lengths, BATCH):
            states = model.hidden_states(texts.select(part))
            hidden = torch.from_numpy(operations_on(states).to_host(states))
            for index, rows in zip(part, hidden.split([texts.lengths[row] for row in part]), strict=True):
                found[index] = torch.stack([rows.mean(dim=0), rows[0]])
    return torch.stack(found)


def cosines(found: Tensor, expected: Tensor) -> Tensor:
    """Return the lower of the cosines of each text's two vectors, ``[N]``."""
    return F.cosine_similarity(found, expected, dim=-1).amin(dim=-1)
