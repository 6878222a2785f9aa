"""What is returned of every layer, gathered on the way in the form in which it goes out."""

from torch import Tensor

from bertie.layers.rectangle import Batch, Rectangle, shown


class Collected:
    """The hidden states and attention weights of one call that asked for them."""

    def __init__(self, batch: Batch | None, attentions: bool, hidden_states: bool) -> None:
        self.batch = batch
        self.hidden_states: list[Tensor] | None = [] if hidden_states else None
        self.attentions: list[Tensor] | None = [] if attentions else None
        # As in the reference, the member is there, and empty, in a model without cross-attention (decision 16).
        self.cross_attentions: list[Tensor] | None = [] if attentions else None

    @property
    def real(self) -> Tensor | None:
        """Bool ``[B, S]``, False where a rectangle has padding."""
        return self.batch.real if isinstance(self.batch, Rectangle) else None

    def add_hidden_states(self, hidden_states: Tensor) -> Tensor:
        """Gather a layer's hidden states, if they are wanted, and return them to go on with."""
        if self.hidden_states is None:
            return hidden_states
        out = hidden_states
        if self.batch is not None:
            out, hidden_states = shown(self.batch, hidden_states)
        self.hidden_states.append(out)
        return hidden_states

    def add_weights(self, weights: Tensor, is_cross_attention: bool) -> None:
        """Gather the weights of an attention, if they are wanted."""
        gathered = self.cross_attentions if is_cross_attention else self.attentions
        if gathered is not None:
            gathered.append(weights)

    def members(self) -> dict[str, tuple[Tensor, ...]]:
        """Return what was gathered, under the names of an output's fields."""
        gathered = {
            "hidden_states": self.hidden_states,
            "attentions": self.attentions,
            "cross_attentions": self.cross_attentions,
        }
        return {name: tuple(each) for name, each in gathered.items() if each is not None}
