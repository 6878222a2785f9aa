"""Embed: one vector a text, made as the model's sentence-transformers files say."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.checkpoints import open_checkpoint
from bertie.errors import CheckpointError, InputError, nearest
from bertie.files import read_json
from bertie.hub import member
from bertie.layers.linear import linear
from bertie.packing import Packed
from bertie.tasks.features import Features
from bertie.tasks.pooling import merge, pool
from bertie.tasks.recipe import Recipe
from bertie.tasks.task import Task

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")


@dataclass(frozen=True, kw_only=True)
class Embed(Task):
    """An answer is one float32 vector ``[D]``.

    Args:
        recipe: pooling, normalisation, length limit and prompts of the model.
        layers: the layers after the pooling, each a linear one and its activation.
        prompt: what to put before every text; wins over ``prompt_name``.
        prompt_name: the name of one of the model's prompts; None takes its default, if it has one.
        normalize: True gives every vector length 1; None does what the model's files say, and so does False, which
            cannot take away a normalisation the model was made with.
    """

    recipe: Recipe = field(default_factory=Recipe)
    layers: tuple[torch.nn.Sequential, ...] = ()
    prompt: str | None = None
    prompt_name: str | None = None
    normalize: bool | None = None
    given: ClassVar[tuple[str, ...]] = (*Task.given, "recipe", "layers")

    def __post_init__(self) -> None:
        if self.prompt is None and self.prompt_name is not None and self.prompt_name not in self.recipe.prompts:
            known = ", ".join(map(repr, self.recipe.prompts)) or "none"
            raise InputError(
                f"The model has no prompt {self.prompt_name!r}; it has {known}."
                f"{nearest(self.prompt_name, self.recipe.prompts)}"
            )

    @property
    def limit(self) -> int:
        """The most tokens a text may have."""
        if self.max_length is None and self.recipe.max_length is not None:
            return self.recipe.max_length
        return super().limit

    def read(self, text: Any) -> Any:
        """As `Task.read`, with the prompt before the text."""
        text = super().read(text)
        if not isinstance(text, str):
            return text
        text = self._prompt + text
        return text.lower() if self.recipe.lower_case else text

    def encode(self, inputs: Sequence[Any], first: int = 0) -> Features:
        """As `Task.encode`; a prompt that takes no part is no window's own."""
        features = super().encode(inputs, first)
        if features.owned is not None and self._skip:
            starts = np.cumsum([0, *features.lengths])[[group[0] for group in features.groups()]]
            features.owned[(starts[:, None] + np.arange(self._skip)).ravel()] = False
        return features

    def run(self, model: Any, packed: Packed, features: Features) -> Tensor:
        """Return the vectors ``[R, D]``; of windows, what their tokens' vectors are pooled to."""
        encoder = getattr(model, "bert", model)
        if tuple(self.recipe.modes) == ("cls",) and not self._skip and hasattr(encoder, "first_tokens"):
            vectors = encoder.first_tokens(packed).float()
        else:
            hidden = encoder(packed, return_dict=True).last_hidden_state
            vectors = pool(hidden, packed, self.recipe.modes, self._skip, features.owned)
        return vectors if self.windows else self.finished(vectors)

    def combine(self, rows: Sequence[Any], features: Features) -> Sequence[Any]:
        """Return the vectors ``[D]`` of the texts."""
        if not self.windows:
            return rows
        vectors = merge(rows, features, self.recipe.modes)
        device = next((cast(nn.Linear, layer[0]).weight.device for layer in self.layers), None)
        return list(self.finished(torch.as_tensor(vectors, device=device)).cpu().numpy())

    def finished(self, vectors: Tensor) -> Tensor:
        """Return pooled vectors as the model's last layers leave them."""
        for dense, activation in self.layers:
            vectors = activation(linear(vectors, dense))
        return F.normalize(vectors, dim=1) if self.recipe.normalize or self.normalize else vectors

    @property
    def _prompt(self) -> str:
        if self.prompt is not None:
            return self.prompt
        name = self.recipe.default_prompt if self.prompt_name is None else self.prompt_name
        return self.recipe.prompts.get(name, "") if name else ""

    @cached_property
    def _skip(self) -> int:
        """How many tokens of every text are the prompt's and take no part: ``[CLS]`` and the prompt itself."""
        if self.recipe.include_prompt or not self._prompt:
            return 0
        return self._cut([self._prompt]).lengths[0] - 1


def load_layers(recipe: Recipe, device: torch.device) -> tuple[torch.nn.Sequential, ...]:
    """Return the linear layers that follow the pooling, each with its activation, in float32 like the pooled vectors.

    Raises:
        CheckpointError: a file is missing or damaged, or asks for an activation bertie does not have.
    """
    layers = (_dense(folder).to(device=device, dtype=torch.float32) for folder in recipe.dense)
    return tuple(layer.eval().requires_grad_(False) for layer in layers)


def _dense(folder: Path) -> torch.nn.Sequential:
    config = read_json(member(folder, "config.json"))
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    usual = {"use_residual": False, "module_input_name": "sentence_embedding", "module_output_name": None}
    odd = [name for name, value in usual.items() if config.get(name, value) not in (value, "sentence_embedding")]
    if activation not in ACTIVATIONS or odd:
        raise CheckpointError(
            f"{str(folder)!r} asks for {odd[0] if odd else activation!r:.60}, which bertie does not have; "
            f"it has plain linear layers with {', '.join(ACTIVATIONS)}"
        )
    checkpoint = open_checkpoint(folder)
    weight = checkpoint.tensor("linear.weight")
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias="linear.bias" in checkpoint.infos)
    linear.load_state_dict({name: checkpoint.tensor(f"linear.{name}") for name in linear.state_dict()})
    return torch.nn.Sequential(linear, getattr(torch.nn, activation)())
