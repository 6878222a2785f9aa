"""The result of a search: ids, and the requested outputs of each step."""

from dataclasses import dataclass
from typing import Any

from bertie.generation.decoder import Layers, StepOutput
from bertie.generation.functions import Values
from bertie.generation.generation_config import GenerationConfig

Steps = tuple[Values, ...]


class StepRecord:
    """The outputs of each step that were requested."""

    def __init__(self, config: GenerationConfig) -> None:
        wanted = bool(config.return_dict_in_generate)
        self._scores: list[Values] | None = [] if wanted and config.output_scores else None
        self._logits: list[Values] | None = [] if wanted and config.output_logits else None
        self._extras: list[dict[str, Layers]] = []

    def add(self, output: StepOutput, logits: Values, scores: Values) -> None:
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
    """The ids found by a search and its step outputs; for beams also their scores and each token's beam."""

    sequences: Values
    record: StepRecord
    sequences_scores: Values | None = None
    beam_indices: Values | None = None
