"""Late chunking: vectors of spans of a long text, pooled from tokens that attend to the whole text."""

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
from bertie.tasks.pooling import SINGLE_TOKEN_MODES, pool
from bertie.tokenization.pieces import Span


class SpannedText(NamedTuple):
    """A text and spans of its characters (start, stop)."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class LateChunking(Embed):
    """An answer is the vectors ``[N, D]`` of the N spans of a text (Günther et al. 2024, arXiv 2409.04701).

    The model reads the text as a whole, and a span's vector is pooled, as the model's files say, from the tokens that
    overlap it. A text that is too long is read in overlapping windows, as in the paper's "long late chunking"; each
    token is taken from the window where it has the most context.
    """

    windows: bool = True

    def encode(self, inputs: Sequence[Any], first: int = 0) -> Features:
        if whole := [mode for mode in self.recipe.modes if mode in SINGLE_TOKEN_MODES]:
            raise InputError(
                f"The model takes a text's vector from one token ({whole[0]!r}), which lies outside most spans; late "
                "chunking needs a model that pools all tokens of a text, such as by their mean."
            )
        texts, spanned = [], []
        for number, (text, spans) in enumerate(inputs, first):
            read = self.read(text, number)  # with the prompt before it
            texts.append(read)
            spanned.append(SpannedText(read, _shifted(spans, len(text), len(read) - len(text))))
        return replace(self.features_of(texts), texts=spanned)

    def run(self, model: Model, features: Features) -> Computed:
        """Return the token vectors ``[T, D]``."""
        return self._apply_token_layers(model.hidden_states(features))

    def rows(self, output: Computed, features: Features) -> Sequence[Array]:
        return features.keep_owned(features.by_row(operations_on(output).to_host(output)))

    def combine(self, rows: Sequence[Any], features: Features) -> list[Array]:
        return list(map(np.concatenate, features.by_input(rows)))

    def decode(self, outputs: Outputs) -> list[Array]:
        features = outputs.features
        assert features.encodings is not None
        assert features.texts is not None
        offsets = features.by_input(
            features.keep_owned([np.array(row.offsets, np.int64) for row in features.encodings])
        )
        found = []
        for own, text, values in zip(offsets, features.texts, outputs.values, strict=True):
            inside = _tokens_in(np.concatenate(own), text.spans)
            tokens = values[np.concatenate(inside)]
            found.append(self.finish(pool(tokens, list(map(len, inside)), self.recipe.modes)))
        return found


def _shifted(spans: Sequence[Span], length: int, shift: int) -> tuple[Span, ...]:
    """Check the spans of a text of ``length`` characters, and shift them by what was put before it."""
    for number, (start, stop) in enumerate(spans):
        if not 0 <= start < stop <= length:
            raise InputError(
                f"Span {number} is [{start}, {stop}]; in a text of {length} characters a span has at least one "
                f"character and lies within 0 to {length}."
            )
    return tuple((start + shift, stop + shift) for start, stop in spans)


def _tokens_in(offsets: Integers, spans: Sequence[Span]) -> list[Integers]:
    """Return the tokens that overlap each span, from the tokens' offsets ``[T, 2]``."""
    starts, stops = offsets.T
    found = [np.flatnonzero((starts < stop) & (stops > start)) for start, stop in spans]
    for number, (tokens, span) in enumerate(zip(found, spans, strict=True)):
        if not len(tokens):
            raise InputError(f"Span {number}, of {span[1] - span[0]} characters, contains no token; widen it.")
    return found
