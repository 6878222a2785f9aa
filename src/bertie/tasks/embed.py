"""Embed: one vector a text, made as the model's sentence-transformers files say."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.errors import InputError, nearest
from bertie.packing import Packed
from bertie.report import say_once
from bertie.tasks.features import Features
from bertie.tasks.pooling import merge, pool
from bertie.tasks.recipe import Recipe
from bertie.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Embed(Task):
    """An answer is one float32 vector ``[D]``.

    Args:
        recipe: pooling, normalisation, length limit and prompts of the model.
        token_layers, layers: what tokens go through before the pooling, and texts after it.
        prompt: what to put before every text; wins over ``prompt_name``.
        prompt_name: the name of one of the model's prompts; None takes its default, if it has one.
        normalize: True gives every vector length 1; None does what the model's files say, and so does False, which
            cannot take away a normalisation the model was made with.
    """

    recipe: Recipe = field(default_factory=Recipe)
    token_layers: tuple[nn.Module, ...] = ()
    layers: tuple[nn.Module, ...] = ()
    prompt: str | None = None
    prompt_name: str | None = None
    normalize: bool | None = None
    given: ClassVar[tuple[str, ...]] = (*Task.given, "recipe", "token_layers", "layers")

    def __post_init__(self) -> None:
        if self.prompt is None and self.prompt_name is not None and self.prompt_name not in self.recipe.prompts:
            known = ", ".join(map(repr, self.recipe.prompts)) or "none"
            raise InputError(
                f"The model has no prompt {self.prompt_name!r}; it has {known}."
                f"{nearest(self.prompt_name, self.recipe.prompts)}"
            )

        stated, positions = self.recipe.max_length, self.config.max_position_embeddings
        if self.max_length is None and stated is not None and stated > positions:
            say_once(
                f"max_seq_length is {stated} in the model's files, but it has {positions} positions, as many as count"
            )

    @property
    def limit(self) -> int:
        """The most tokens a text may have."""
        if self.max_length is None and self.recipe.max_length is not None:
            return min(self.recipe.max_length, self.config.max_position_embeddings)
        return super().limit

    def read(self, text: Any) -> Any:
        """As `Task.read`, with the prompt before the text."""
        text = super().read(text)
        if not isinstance(text, str):
            return text
        text = self._prompt + text
        if not self.recipe.lower_case or getattr(self.tokenizer, "do_lower_case", False):
            return text
        # tokens like [SEP] are found as they are written, before a tokenizer puts text in small letters
        control = "" if self.split_special_tokens else "|".join(map(re.escape, self.tokenizer.all_special_tokens))
        parts = re.split(f"({control})", text) if control else [text]
        return "".join(part if number % 2 else "".join(map(str.lower, part)) for number, part in enumerate(parts))

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
            vectors = _through(self.token_layers, encoder.first_tokens(packed).float())
        else:
            hidden = encoder(packed, return_dict=True).last_hidden_state
            hidden = _through(self.token_layers, hidden.float()) if self.token_layers else hidden
            vectors = pool(hidden, packed, self.recipe.modes, self._skip, features.owned)
        return vectors if self.windows else self.finished(vectors)

    def combine(self, rows: Sequence[Any], features: Features) -> Sequence[Any]:
        """Return the vectors ``[D]`` of the texts."""
        if not self.windows:
            return rows
        vectors = merge(rows, features, self.recipe.modes)
        device = next((weight.device for layer in self.layers for weight in layer.parameters()), None)
        return list(self.finished(torch.as_tensor(vectors, device=device)).cpu().numpy())

    def finished(self, vectors: Tensor) -> Tensor:
        """Return pooled vectors as the model's last layers leave them."""
        vectors = _through(self.layers, vectors)[:, : self.recipe.truncate_dim]
        return F.normalize(vectors, dim=1) if self.normalize else vectors

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
        ids = self._cut([self._prompt]).ids
        # what ends a row stands behind the text that follows
        return len(ids) - int(ids[-1] in self.tokenizer.all_special_ids)


def _through(layers: Sequence[nn.Module], vectors: Tensor) -> Tensor:
    for layer in layers:
        vectors = layer(vectors)
    return vectors
