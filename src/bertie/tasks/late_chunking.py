"""Late chunking: vectors of spans of one long text, each pooled from tokens that have seen the text around it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from bertie.errors import InputError
from bertie.tasks.arrays import Array, Integers
from bertie.tasks.embed import Embed
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, operations_on
from bertie.tasks.pooling import WHOLE, pool
from bertie.tokenization.pieces import Span


class SpannedText(NamedTuple):
    """A text, and parts of it: their first characters and those behind their last."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class LateChunking(Embed):
    """An answer is the vectors ``[N, D]`` of the N spans of a text (Günther et al. 2024, arXiv 2409.04701).

    The model reads the text as a whole, and a span's vector is pooled, as the model's files say, from the tokens that
    have a character in it. A text that is too long is read in windows that overlap, as in the paper's "long late
    chunking"; each token is taken from the window where it has most context.
    """

    windows: bool = True

    def encode(self, inputs: Sequence[Any], first: int = 0) -> Features:
        if whole := [mode for mode in self.recipe.modes if mode in WHOLE]:
            raise InputError(
                f"The model pools a text by one token ({whole[0]!r}), which has no part in most spans; late chunking "
                "is for models that pool the tokens of a text, such as by their mean."
            )
        texts, moved = [], []
        for number, (text, spans) in enumerate(inputs, first):
            read = self.read(text, number)
            texts.append(read)
            moved.append(SpannedText(read, _moved(spans, len(text), len(read) - len(text))))
        return replace(self.features_of(texts), texts=moved)

    def run(self, model: Model, features: Features) -> Computed:
        """Return the vectors of tokens ``[T, D]``."""
        return self._through_token_layers(model.hidden_states(features))

    def rows(self, output: Computed, features: Features) -> Sequence[Array]:
        do = operations_on(output)
        return features.own(features.by_row(do.to_host(do.widened(output))))

    def combine(self, rows: Sequence[Any], features: Features) -> list[Array]:
        return list(map(np.concatenate, features.by_input(rows)))

    def decode(self, outputs: Outputs) -> list[Array]:
        features = outputs.features
        assert features.encodings is not None
        assert features.texts is not None
        places = features.by_input(features.own([np.array(row.offsets, np.int64) for row in features.encodings]))
        found = []
        for own, text, values in zip(places, features.texts, outputs.values, strict=True):
            inside = _tokens_in(np.concatenate(own), text.spans)
            tokens = values[np.concatenate(inside)]
            found.append(self.finished(pool(tokens, list(map(len, inside)), self.recipe.modes)))
        return found


def _moved(spans: Sequence[Span], length: int, before: int) -> tuple[Span, ...]:
    """Return spans of a text of so many characters as they lie where others stand ``before`` it."""
    for number, (start, stop) in enumerate(spans):
        if not 0 <= start < stop <= length:
            raise InputError(
                f"Span {number} is [{start}, {stop}]; a text of {length} characters has spans of at least one "
                f"character from 0 to {length}."
            )
    return tuple((start + before, stop + before) for start, stop in spans)


def _tokens_in(places: Integers, spans: Sequence[Span]) -> list[Integers]:
    """Return the tokens that have a character in each span, by where they begin and end, ``[T, 2]``."""
    starts, stops = places.T
    found = [np.flatnonzero((starts < stop) & (stops > start)) for start, stop in spans]
    for number, (tokens, span) in enumerate(zip(found, spans, strict=True)):
        if not len(tokens):
            raise InputError(f"Span {number}, of {span[1] - span[0]} characters, has no token of its own; widen it.")
    return found
