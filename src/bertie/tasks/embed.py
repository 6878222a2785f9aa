"""Embed: one vector per text, as the model's sentence-transformers files say, or a sparse one from a masked-LM head."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bertie.errors import InputError, nearest
from bertie.progress import say_once
from bertie.tasks.arrays import Array, Integers
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, operations_on
from bertie.tasks.pooling import pool, pool_windows
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tasks.task import Task
from bertie.tasks.text_encoder import check_count
from bertie.tasks.vector_layers import apply_layers, width_after


@dataclass(frozen=True, kw_only=True)
class Embed(Task):
    """An answer is one float32 vector ``[D]``."""

    recipe: Recipe = field(default_factory=Recipe)  # pooling, normalization, length limit and prompts of the model
    token_layers: tuple[Callable[[Any], Any], ...] = ()  # applied to token vectors before pooling
    layers: tuple[Callable[[Any], Any], ...] = ()  # applied to text vectors after pooling
    prompt: str | None = None  # put before every text; overrides ``prompt_name``
    prompt_name: str | None = None  # one of the model's prompts; None: its default, if it has one
    # True scales every vector to length 1; None does what the model's files say, and so does False: it does not remove
    # a normalization that is part of the model
    normalize: bool | None = None
    truncate_dim: int | None = None  # dimensions to keep, before ``normalize``; None: as the files say
    not_options: ClassVar[tuple[str, ...]] = (*Task.not_options, "recipe", "token_layers", "layers")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt is None and self.prompt_name is not None and self.prompt_name not in self.recipe.prompts:
            known = ", ".join(map(repr, self.recipe.prompts)) or "none"
            raise InputError(
                f"The model has no prompt {self.prompt_name!r}; it has {known}."
                f"{nearest(self.prompt_name, self.recipe.prompts)}"
            )

        if self.truncate_dim is not None:
            check_count("truncate_dim", self.truncate_dim, self.width)
        stated, positions = self.recipe.max_length, self.config.max_tokens
        if self.max_length is None and stated is not None and stated > positions:
            say_once(
                f"max_seq_length is {stated} in the model's files, but the model has only {positions} positions, which "
                "is the limit"
            )

    @property
    def limit(self) -> int:
        if self.max_length is None and self.recipe.max_length is not None:
            return min(self.recipe.max_length, self.config.max_tokens)
        return super().limit

    @property
    def width(self) -> int:
        """The dimension of the model's vectors, as its files say."""
        pooled = width_after(self.token_layers, int(self.config.hidden_size)) * len(self.recipe.modes)
        width = width_after(self.layers, pooled)
        return min(width, self.recipe.truncate_dim or width)

    @property
    def dimension(self) -> int:
        """D, the dimension of an answer."""
        return self.truncate_dim or self.width

    def read(self, given: object, number: int = 0) -> Any:
        text = super().read(given, number)
        if isinstance(text, str):
            return self._lower_case(self._prompt + text)
        return self._lower_case(self._prompt + text[0]), self._lower_case(text[1])

    def _lower_case(self, text: str) -> str:
        """Lower-case a text if the model's files ask for it and the tokenizer does not do so itself."""
        if not self.recipe.lower_case or getattr(self.tokenizer, "do_lower_case", False):
            return text
        # special tokens such as [SEP] keep their case: tokenizers match them before they lower-case a text
        special = "" if self.split_special_tokens else "|".join(map(re.escape, self.tokenizer.all_special_tokens))
        parts = re.split(f"({special})", text) if special else [text]
        return "".join(part if number % 2 else "".join(map(str.lower, part)) for number, part in enumerate(parts))

    def features_of(self, texts: Sequence[Any]) -> Features:
        # the tokens of a prompt that is excluded from pooling are owned by no window
        features = super().features_of(texts)
        if features.owned is not None and self._num_excluded:
            starts = features.starts[features.first_rows[:-1]]
            features.owned[(starts[:, None] + np.arange(self._num_excluded)).ravel()] = False
        return features

    def run(self, model: Model, features: Features) -> Computed:
        """Return the vectors ``[R, D]``; with windows, each window's pooled vector before the last layers."""
        if tuple(self.recipe.modes) == ("cls",) and not self._num_excluded:
            vectors = self._apply_token_layers(model.first_tokens(features))
            vectors = operations_on(vectors).to_float32(vectors)
            return vectors if self.windows else self.finish(vectors)
        return self.vectors(model.hidden_states(features), features)

    def vectors(self, hidden: Any, features: Features) -> Computed:
        """As `run`, from the last hidden states ``[T, D]``."""
        hidden = self._apply_token_layers(hidden)
        owned = features.owned
        if self.recipe.is_static:
            owned = ~np.isin(features.ids, [self.tokenizer.cls_token_id, self.tokenizer.sep_token_id])
        vectors = pool(hidden, features.lengths, self.recipe.modes, self._num_excluded, owned)
        return vectors if self.windows else self.finish(vectors)

    def combine(self, rows: Sequence[Any], features: Features) -> Sequence[Any]:
        if not self.windows or not rows:
            return rows
        return list(self.finish(pool_windows(np.stack(rows), features, self.recipe.modes)))

    def decode(self, outputs: Outputs) -> Sequence[Any]:
        return list(outputs.values)

    def finish(self, vectors: Any) -> Any:
        """Apply the layers after pooling, truncation and normalization to pooled vectors."""
        vectors = apply_layers(self.layers, vectors)[:, : self.dimension]
        return operations_on(vectors).normalize(vectors) if self.normalize else vectors

    def _apply_token_layers(self, vectors: Any) -> Any:
        if not self.token_layers:
            return vectors
        return apply_layers(self.token_layers, operations_on(vectors).to_float32(vectors))

    @property
    def _prompt(self) -> str:
        if self.prompt is not None:
            return self.prompt
        name = self.recipe.default_prompt if self.prompt_name is None else self.prompt_name
        return self.recipe.prompts.get(name, "") if name else ""

    @cached_property
    def _num_excluded(self) -> int:
        """How many first tokens of every text are excluded from pooling: ``[CLS]`` and the prompt, or none."""
        if self.recipe.include_prompt or not self._prompt:
            return 0
        ids = self.cut([self._prompt]).ids
        # a final [SEP] comes after the text that follows the prompt
        return len(ids) - int(ids[-1] in self.tokenizer.all_special_ids)


@dataclass(frozen=True, kw_only=True)
class SparseEmbedding(Task):
    """SPLADE (Formal et al. 2021, equation 6): an answer is ascending vocabulary ids and their weights, all above 0.

    A weight is the maximum, over the text's tokens, of ``log(1 + max(0, logit))``.
    """

    def run(self, model: Model, features: Features) -> Computed:
        """Return the highest logit of each vocabulary entry in each row, ``[R, V]``."""
        logits = model.masked_lm(features, np.arange(len(features.ids)))
        do = operations_on(logits)
        return do.segment_max(do.to_float32(logits), np.asarray(features.lengths, np.int64))

    def rows(self, output: Any, features: Features) -> list[tuple[Integers, Array]]:
        """Return the ids and weights of each row."""
        weights = np.log1p(np.maximum(operations_on(output).to_host(output), 0))
        return [(ids := np.flatnonzero(row), row[ids]) for row in weights]

    def decode(self, outputs: Outputs) -> Sequence[tuple[Integers, Array]]:
        return list(outputs.values)
