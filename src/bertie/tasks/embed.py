"""Embed: one vector a text, made as the model's sentence-transformers files say, or sparse by a masked-LM head."""

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
from bertie.tasks.pooling import merged, pool
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tasks.task import Task
from bertie.tasks.text_encoder import check_count
from bertie.tasks.vector_layers import through, width_after


@dataclass(frozen=True, kw_only=True)
class Embed(Task):
    """An answer is one float32 vector ``[D]``."""

    recipe: Recipe = field(default_factory=Recipe)  # pooling, normalisation, length limit and prompts of the model
    token_layers: tuple[Callable[[Any], Any], ...] = ()  # what tokens go through before the pooling
    layers: tuple[Callable[[Any], Any], ...] = ()  # what texts go through after it
    prompt: str | None = None  # what to put before every text; wins over ``prompt_name``
    prompt_name: str | None = None  # of one of the model's prompts; None takes its default, if it has one
    # True gives every vector length 1; None does what the model's files say, and so does False, which cannot take away
    # a normalisation that the model was made with
    normalize: bool | None = None
    truncate_dim: int | None = None  # numbers to keep of every vector, before ``normalize``; None: as the files say
    given: ClassVar[tuple[str, ...]] = (*Task.given, "recipe", "token_layers", "layers")

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
                f"max_seq_length is {stated} in the model's files, but it has {positions} positions, as many as count"
            )

    @property
    def limit(self) -> int:
        if self.max_length is None and self.recipe.max_length is not None:
            return min(self.recipe.max_length, self.config.max_tokens)
        return super().limit

    @property
    def width(self) -> int:
        """How many numbers the model's vectors have, as its files say."""
        pooled = width_after(self.token_layers, int(self.config.hidden_size)) * len(self.recipe.modes)
        width = width_after(self.layers, pooled)
        return min(width, self.recipe.truncate_dim or width)

    @property
    def dimension(self) -> int:
        """D, how many numbers an answer has."""
        return self.truncate_dim or self.width

    def read(self, given: object, number: int = 0) -> Any:
        text = super().read(given, number)
        if isinstance(text, str):
            return self._lowered(self._prompt + text)
        return self._lowered(self._prompt + text[0]), self._lowered(text[1])

    def _lowered(self, text: str) -> str:
        """Return a text in small letters if the model's files ask for it and the tokenizer leaves it to others."""
        if not self.recipe.lower_case or getattr(self.tokenizer, "do_lower_case", False):
            return text
        # tokens like [SEP] are found as they are written, before a tokenizer puts text in small letters
        control = "" if self.split_special_tokens else "|".join(map(re.escape, self.tokenizer.all_special_tokens))
        parts = re.split(f"({control})", text) if control else [text]
        return "".join(part if number % 2 else "".join(map(str.lower, part)) for number, part in enumerate(parts))

    def features_of(self, texts: Sequence[Any]) -> Features:
        # a prompt that takes no part is no window's own
        features = super().features_of(texts)
        if features.owned is not None and self._skip:
            starts = features.starts[features.first_rows[:-1]]
            features.owned[(starts[:, None] + np.arange(self._skip)).ravel()] = False
        return features

    def run(self, model: Model, features: Features) -> Computed:
        """Return the vectors ``[R, D]``; of windows, what their tokens' vectors are pooled to."""
        if tuple(self.recipe.modes) == ("cls",) and not self._skip:
            vectors = self._through_token_layers(model.first_tokens(features))
            vectors = operations_on(vectors).widened(vectors)
            return vectors if self.windows else self.finished(vectors)
        return self.vectors(model.hidden_states(features), features)

    def vectors(self, hidden: Any, features: Features) -> Computed:
        """As `run`, of the last hidden states ``[T, D]``."""
        hidden = self._through_token_layers(hidden)
        owned = features.owned
        if self.recipe.is_static:
            owned = ~np.isin(features.ids, [self.tokenizer.cls_token_id, self.tokenizer.sep_token_id])
        vectors = pool(hidden, features.lengths, self.recipe.modes, self._skip, owned)
        return vectors if self.windows else self.finished(vectors)

    def combine(self, rows: Sequence[Any], features: Features) -> Sequence[Any]:
        if not self.windows or not rows:
            return rows
        return list(self.finished(merged(np.stack(rows), features, self.recipe.modes)))

    def decode(self, outputs: Outputs) -> Sequence[Any]:
        return list(outputs.values)

    def finished(self, vectors: Any) -> Any:
        """Return pooled vectors as the model's last layers leave them."""
        vectors = through(self.layers, vectors)[:, : self.dimension]
        return operations_on(vectors).normalize(vectors) if self.normalize else vectors

    def _through_token_layers(self, vectors: Any) -> Any:
        return through(self.token_layers, operations_on(vectors).widened(vectors)) if self.token_layers else vectors

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
        ids = self.cut([self._prompt]).ids
        # what ends a row stands behind the text that follows
        return len(ids) - int(ids[-1] in self.tokenizer.all_special_ids)


@dataclass(frozen=True, kw_only=True)
class SparseEmbedding(Task):
    """SPLADE: an answer is the ids of words, in order, and their weights, above 0 (Formal et al. 2021, equation 6).

    A word's weight is the maximum, over the text's tokens, of ``log(1 + max(0, logit))``.
    """

    def run(self, model: Model, features: Features) -> Computed:
        """Return the highest logit of each word in each row, ``[R, V]``."""
        logits = model.masked_lm(features, np.arange(len(features.ids)))
        do = operations_on(logits)
        return do.run_max(do.widened(logits), np.asarray(features.lengths, np.int64))

    def rows(self, output: Any, features: Features) -> list[tuple[Integers, Array]]:
        """Return the words and weights of each row."""
        weights = np.log1p(np.maximum(operations_on(output).to_host(output), 0))
        return [(ids := np.flatnonzero(row), row[ids]) for row in weights]

    def decode(self, outputs: Outputs) -> Sequence[tuple[Integers, Array]]:
        return list(outputs.values)
