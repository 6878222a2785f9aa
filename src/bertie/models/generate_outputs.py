"""The output classes of ``generate``, under the reference's names."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from bertie.generation.generated import Generated
from bertie.outputs import ModelOutput

Layers = tuple[Tensor, ...]
Steps = tuple[Tensor, ...]
LayersOfSteps = tuple[Layers, ...]


class GenerateDecoderOnlyOutput(ModelOutput):
    """``sequences [B * N, S]``, N per prompt, and for each step scores ``[B * N, V]``, attentions and so on."""

    sequences: Tensor
    scores: Steps | None
    logits: Steps | None
    attentions: LayersOfSteps | None
    hidden_states: LayersOfSteps | None
    past_key_values: Any


class GenerateBeamDecoderOnlyOutput(ModelOutput):
    """The same for beam search, ``sequences_scores [B * N]`` and ``beam_indices [B * N, steps]``, padded with -1."""

    sequences: Tensor
    sequences_scores: Tensor | None
    scores: Steps | None
    logits: Steps | None
    beam_indices: Tensor | None
    attentions: LayersOfSteps | None
    hidden_states: LayersOfSteps | None
    past_key_values: Any


class GenerateEncoderDecoderOutput(ModelOutput):
    """``sequences [B * N, S]``, outputs of the decoder at each step, and of the encoder once."""

    sequences: Tensor
    scores: Steps | None
    logits: Steps | None
    encoder_attentions: Layers | None
    encoder_hidden_states: Layers | None
    decoder_attentions: LayersOfSteps | None
    cross_attentions: LayersOfSteps | None
    decoder_hidden_states: LayersOfSteps | None
    past_key_values: Any


class GenerateBeamEncoderDecoderOutput(ModelOutput):
    """The same for beam search, ``sequences_scores [B * N]`` and ``beam_indices [B * N, steps]``, padded with -1."""

    sequences: Tensor
    sequences_scores: Tensor | None
    scores: Steps | None
    logits: Steps | None
    beam_indices: Tensor | None
    encoder_attentions: Layers | None
    encoder_hidden_states: Layers | None
    decoder_attentions: LayersOfSteps | None
    cross_attentions: LayersOfSteps | None
    decoder_hidden_states: LayersOfSteps | None
    past_key_values: Any


def output_of(found: Generated, cache: Any, encoder: Callable[[str], Layers | None] | None = None) -> ModelOutput:
    """Return the output of a search; ``encoder`` returns the encoder's attentions or hidden states by name."""
    members = found.record.members() | {"sequences": found.sequences, "past_key_values": cache}
    is_beam = found.beam_indices is not None
    if is_beam:
        members |= {"sequences_scores": found.sequences_scores, "beam_indices": found.beam_indices}
    if encoder is None:
        return (GenerateBeamDecoderOnlyOutput if is_beam else GenerateDecoderOnlyOutput)(**members)
    for name in ("attentions", "hidden_states"):
        members |= {f"decoder_{name}": members.pop(name, None), f"encoder_{name}": encoder(name)}
    return (GenerateBeamEncoderDecoderOutput if is_beam else GenerateEncoderDecoderOutput)(**members)
