"""What the loops ask of a model: to read the tokens that are new in each text, and to score what comes next."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from bertie.config import BertConfig
from bertie.generation.functions import Values, functions_of

Layers = tuple[Values, ...]


@dataclass(frozen=True)
class StepOutput:
    """``logits [B, V]`` of the next word, and what else was asked for, one tensor a layer.

    ``states [B, n, D]``: the last hidden states of the tokens that were read, zeros where a text has fewer.
    """

    logits: Values
    extras: dict[str, Layers] = field(default_factory=dict)
    states: Values | None = None

    def repeated(self, count: int) -> "StepOutput":
        """Return each text's answer so many times, one copy beside the other."""
        if count == 1:
            return self
        texts = functions_of(self.logits).ids(self.logits, range(len(self.logits)))
        return self.of(functions_of(texts).repeat(texts, count))

    def of(self, texts: Values) -> "StepOutput":
        """Return the answers of these texts, without their states."""
        extras = {name: tuple(layer[texts] for layer in layers) for name, layers in self.extras.items()}
        return StepOutput(self.logits[texts], extras)


class Decoder(Protocol):
    """A model between two steps, with what it has read of each of B texts: one of PyTorch's, or the engine's.

    Ids and logits are tensors of the one, arrays of the other.
    """

    config: BertConfig
    limit: int  # the width that ``ids`` may have at most: the model's positions end there

    @property
    def cache(self) -> Any: ...  # the keys and values of what was read, or None

    def step(self, ids: Values, running: Values | None = None, with_states: bool = False) -> StepOutput:
        """Read what is new in ``ids [B, S]`` and score the next word.

        ``running`` bool ``[B]``: False where a text has ended; its logits may be anything finite, so that nothing has
        to be computed of it. Contrastive search alone asks for states.
        """

    def read(self, words: Values) -> Values:
        """Read the next words ``[n]`` of the only text, behind its prompt, and score what comes after each, ``[n, V]``.

        Assisted decoding alone asks for it, and for `forget`.
        """

    def forget(self, count: int) -> None:
        """Forget the last ``count`` tokens that were read of the only text."""

    def repeat(self, count: int) -> None:
        """Make of each text so many, one beside the other."""

    def reorder(self, texts: Values) -> None:
        """Make text ``i`` what text ``texts[i]`` was."""
