"""The interface between search loops and models: read the new tokens of each text, and score the next."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from bertie.config import BertConfig
from bertie.generation.functions import Values, functions_of

Layers = tuple[Values, ...]


@dataclass(frozen=True)
class StepOutput:
    """``logits [B, V]`` of the next token, and further outputs that were requested, one tensor per layer.

    ``states [B, n, D]``: the last hidden states of the tokens read in this step, padded with zeros.
    """

    logits: Values
    extras: dict[str, Layers] = field(default_factory=dict)
    states: Values | None = None

    def repeated(self, count: int) -> "StepOutput":
        """Repeat each text's outputs ``count`` times."""
        if count == 1:
            return self
        texts = functions_of(self.logits).ids(self.logits, range(len(self.logits)))
        return self.of(functions_of(texts).repeat(texts, count))

    def of(self, texts: Values) -> "StepOutput":
        """Return the outputs of these texts, without their states."""
        extras = {name: tuple(layer[texts] for layer in layers) for name, layers in self.extras.items()}
        return StepOutput(self.logits[texts], extras)


class Decoder(Protocol):
    """A model between two steps, with its cache of B texts; either a PyTorch model or the engine.

    Ids and logits are PyTorch tensors or NumPy arrays accordingly.
    """

    config: BertConfig
    limit: int  # the maximum width of ``ids``, given by the model's positions

    @property
    def cache(self) -> Any: ...  # keys and values of the tokens read, or None

    def step(self, ids: Values, running: Values | None = None, with_states: bool = False) -> StepOutput:
        """Read the new tokens of ``ids [B, S]`` and score the next one.

        ``running`` bool ``[B]``: False for a finished text, whose logits may be any finite values, so that it need not
        be computed. Only contrastive search requests states.
        """

    def read(self, tokens: Values) -> Values:
        """Read the next tokens ``[n]`` of a single text after its prompt, and return the scores ``[n, V]`` after each.

        Only assisted decoding uses this and `forget`.
        """

    def forget(self, count: int) -> None:
        """Forget the last ``count`` tokens read of the single text."""

    def repeat(self, count: int) -> None:
        """Replace each text by ``count`` consecutive copies."""

    def reorder(self, texts: Values) -> None:
        """Replace text ``i`` by text ``texts[i]``."""
