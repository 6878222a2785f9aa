"""What ``generate`` returns: ids, and by the reference's names what was computed on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bertie.generation.decoder import Layers, StepOutput
from bertie.generation.generation_config import GenerationConfig
from bertie.outputs import ModelOutput

Steps = tuple[Tensor, ...]
LayersOfSteps = tuple[Layers, ...]


class GenerateDecoderOnlyOutput(ModelOutput):
    """``sequences [B * N, S]``, N of each prompt, and of each step scores ``[B * N, V]``, attentions and the like."""

    sequences: Tensor
    scores: Steps | None
    logits: Steps | None
    attentions: LayersOfSteps | None
    hidden_states: LayersOfSteps | None
    past_key_values: Any


class GenerateBeamDecoderOnlyOutput(ModelOutput):
    """The same of K beams, with ``sequences_scores [B * N]`` and ``beam_indices [B * N, steps]``, -1 after the end."""

    sequences: Tensor
    sequences_scores: Tensor | None
    scores: Steps | None
    logits: Steps | None
    beam_indices: Tensor | None
    attentions: LayersOfSteps | None
    hidden_states: LayersOfSteps | None
    past_key_values: Any


class GenerateEncoderDecoderOutput(ModelOutput):
    """``sequences [B * N, S]``, what the decoder computed at each step, and once the encoder."""

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
    """The same of K beams, with ``sequences_scores [B * N]`` and ``beam_indices [B * N, steps]``, -1 after the end."""

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


class StepRecord:
    """What was computed at each step, as far as it is asked for."""

    def __init__(self, config: GenerationConfig) -> None:
        wanted = bool(config.return_dict_in_generate)
        self._scores: list[Tensor] | None = [] if wanted and config.output_scores else None
        self._logits: list[Tensor] | None = [] if wanted and config.output_logits else None
        self._extras: list[dict[str, Layers]] = []

    def add(self, output: StepOutput, logits: Tensor, scores: Tensor) -> None:
        if self._scores is not None:
            self._scores.append(scores)
        if self._logits is not None:
            self._logits.append(logits)
        if output.extras:
            self._extras.append(output.extras)

    @property
    def scores(self) -> Steps | None:
        return None if self._scores is None else tuple(self._scores)

    def members(self) -> dict[str, Any]:
        """Return scores, logits, attentions and hidden states of all steps, by name."""
        names = dict.fromkeys(name for extras in self._extras for name in extras)
        members: dict[str, Any] = {name: tuple(extras[name] for extras in self._extras) for name in names}
        members["logits"] = None if self._logits is None else tuple(self._logits)
        return members | {"scores": self.scores}


@dataclass(frozen=True)
class Generated:
    """The ids of a search and what it recorded; of beams their scores, and which beam each word came from."""

    sequences: Tensor
    record: StepRecord
    sequences_scores: Tensor | None = None
    beam_indices: Tensor | None = None

    def output(self, cache: Any, encoder: Callable[[str], Layers | None] | None = None) -> ModelOutput:
        """Return the output class that fits; ``encoder`` returns the encoder's attentions or hidden states."""
        members = self.record.members() | {"sequences": self.sequences, "past_key_values": cache}
        is_beam = self.beam_indices is not None
        if is_beam:
            members |= {"sequences_scores": self.sequences_scores, "beam_indices": self.beam_indices}
        if encoder is None:
            return (GenerateBeamDecoderOnlyOutput if is_beam else GenerateDecoderOnlyOutput)(**members)
        for name in ("attentions", "hidden_states"):
            members |= {f"decoder_{name}": members.pop(name, None), f"encoder_{name}": encoder(name)}
        return (GenerateBeamEncoderDecoderOutput if is_beam else GenerateEncoderDecoderOutput)(**members)
