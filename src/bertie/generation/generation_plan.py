"""GenerationPlan: one resolved call of ``generate``, with its lengths, logits processors and stopping criteria."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bertie.errors import InputError, InputTypeError, counted
from bertie.generation import sampling_filters as filters
from bertie.generation.functions import Values, functions_of
from bertie.generation.generation_config import GenerationConfig
from bertie.generation.generation_fields import tokens_of
from bertie.generation.logits_processors import (
    EncoderRepetitionPenalty,
    ExponentialDecayLengthPenalty,
    ForceTokens,
    KnownTokens,
    LogitsProcessor,
    NoRepeatNgram,
    PrefixConstraint,
    RepetitionPenalty,
    SequenceBias,
    SuppressTokens,
    remove_invalid_values,
    renormalize,
)
from bertie.generation.streamers import Streamer
from bertie.progress import say_once

StoppingCriterion = Callable[[Values, Any], Any]
PrefixFunction = Callable[[int, Values], Sequence[int]]
# the reference's default if no length is given
DEFAULT_NEW_TOKENS = 20


@dataclass(frozen=True)
class Prompts:
    """The beginnings ``ids [B, S]`` of the decoder's texts, and ``source``, the encoder's ids if there are any.

    ``first [B]``: the column of each first token; None: column 0. ``embedded``: number of tokens before the ids that
    are given as vectors.
    """

    ids: Values
    first: Values | None = None
    source: Values | None = None
    embedded: int = 0

    @property
    def width(self) -> int:
        return self.ids.shape[1]


@dataclass
class GenerationPlan:
    """All that the search loops need to know of a call of ``generate``; made by `of`."""

    config: GenerationConfig
    max_length: int
    ends: tuple[int, ...]
    processors: list[LogitsProcessor]
    criteria: list[StoppingCriterion]
    streamer: Streamer | None = None
    generator: Any = None
    began: float = field(default_factory=time.monotonic)
    any_criterion_met: bool = False  # whether a criterion has ended a text

    @classmethod
    def of(
        cls,
        config: GenerationConfig,
        prompts: Prompts,
        limit: int,
        logits_processor: Sequence[LogitsProcessor] | None = None,
        stopping_criteria: Sequence[StoppingCriterion] | None = None,
        prefix_allowed_tokens_fn: PrefixFunction | None = None,
        streamer: Streamer | None = None,
        generator: Any = None,
    ) -> "GenerationPlan":
        """Return the plan of a settled config; ``limit`` is the maximum width, given by the model's positions."""
        processors_given, criteria = logits_processor or (), stopping_criteria or ()
        _check_functions(processors_given, criteria, prefix_allowed_tokens_fn, streamer)
        if streamer is not None and (config.num_beams or 1) > 1:
            raise InputError("A streamer needs tokens at once, which beams do not settle; leave out one of the two.")
        ends = tuple(tokens_of(config.eos_token_id))
        max_length = _max_length(config, prompts, limit)
        processors = [
            *_processors(config, prompts, max_length, ends, prefix_allowed_tokens_fn),
            *processors_given,
            *(_filters(config, ends) if config.do_sample else ()),
            *([renormalize] if config.renormalize_logits else ()),
        ]
        return cls(config, max_length, ends, processors, list(criteria), streamer, generator)

    @property
    def pad(self) -> int:
        """The token that fills a text after its end."""
        pad: int | None = self.config.pad_token_id
        return self.ends[0] if pad is None else pad

    def process(self, ids: Values, scores: Values) -> Values:
        """Return the scores ``[B, V]`` after all processors."""
        for processor in self.processors:
            found = processor(ids, scores)
            if not isinstance(found, type(scores)) or found.shape != scores.shape or "float" not in str(found.dtype):
                raise InputTypeError(
                    f"The logits processor {_name(processor)} returned {_shown(found)}; it must return scores "
                    f"like those it is given: {_shown(scores)}."
                )
            scores = found
        return scores

    def ended(self, ids: Values, scores: tuple[Values, ...] | None, length: int | None = None) -> Values:
        """Return which of the texts ``ids [N, S]`` end with their last token, bool ``[N]``.

        ``length``: the number of tokens if ``ids`` holds only the last, which suffices without criteria.
        """
        xp = functions_of(ids)
        ended = xp.is_in(ids[:, -1], self.ends)
        for criterion in self.criteria:
            answer = _answer(criterion, ids, scores)
            self.any_criterion_met = self.any_criterion_met or bool(answer.any())
            ended = ended | answer
        if (length or ids.shape[1]) >= self.max_length:
            if self.criteria and not self.any_criterion_met and not bool(ended.any()):
                say_once(f"no stopping criterion was met within max_length={self.max_length}; the texts end there")
            return ended | True
        is_late = self.config.max_time is not None and time.monotonic() - self.began > self.config.max_time
        return ended | is_late


def _check_functions(processors: Any, criteria: Any, allowed: Any, streamer: Any) -> None:
    for name, given in (("logits_processor", processors), ("stopping_criteria", criteria)):
        if not isinstance(given, Iterable):
            raise InputTypeError(f"{name} is a {type(given).__name__}; give a list of functions.")
        for each in given:
            if not callable(each):
                raise InputTypeError(f"{name} holds a {type(each).__name__}; each must be a function.")
            if isinstance(each, type):
                raise InputTypeError(f"{name} holds the class {each.__name__}; give an object of it.")
    if allowed is not None and not callable(allowed):
        raise InputTypeError(f"prefix_allowed_tokens_fn is a {type(allowed).__name__}; it must be a function.")
    if isinstance(streamer, type):
        raise InputTypeError(f"streamer is the class {streamer.__name__}; give an object of it.")
    if streamer is not None and not all(callable(getattr(streamer, name, None)) for name in ("put", "end")):
        raise InputTypeError(
            f"streamer is a {type(streamer).__name__}; it must have the methods put and end, as TextStreamer has."
        )


def _answer(criterion: StoppingCriterion, ids: Values, scores: Any) -> Values:
    answer = criterion(ids, scores)
    try:
        found = functions_of(ids).as_bools(ids, answer)
        is_valid = str(found.dtype).removeprefix("torch.") == "bool" and found.shape in ((), ids.shape[:1])
    except (TypeError, ValueError, RuntimeError):  # PyTorch's error if it cannot make a tensor
        is_valid = False
    if not is_valid:
        raise InputTypeError(
            f"The stopping criterion {_name(criterion)} returned {_shown(answer)}; it must return True or False, or "
            f"a bool tensor with one entry for each of {counted(ids.shape[0], 'text')}."
        )
    return found


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _shown(value: Any) -> str:
    is_array = hasattr(value, "dtype") and hasattr(value, "shape")
    return f"{value.dtype} of shape {tuple(value.shape)}" if is_array else f"a {type(value).__name__}"


def _max_length(config: GenerationConfig, prompts: Prompts, limit: int) -> int:
    """Return the maximum width of the texts, including the prompts."""
    width = prompts.width
    if config.max_new_tokens is not None:
        asked, length = f"max_new_tokens={config.max_new_tokens}", width + config.max_new_tokens
        if config.max_length is not None:
            say_once(f"max_new_tokens={config.max_new_tokens} takes precedence over max_length={config.max_length}")
    elif config.max_length is not None:
        asked, length = f"max_length={config.max_length}", config.max_length - prompts.embedded
    else:
        asked, length = f"{DEFAULT_NEW_TOKENS} new tokens", width + DEFAULT_NEW_TOKENS
        say_once(f"no length is given, so at most {DEFAULT_NEW_TOKENS} tokens are generated; pass max_new_tokens=…")
        length = min(length, limit)
    if length <= width:
        raise InputError(
            f"{asked} leaves no room after prompts of {counted(width + prompts.embedded, 'token')}; raise it."
        )
    if length > limit:
        raise InputError(
            f"{asked} after prompts of {counted(width + prompts.embedded, 'token')} goes beyond the model's positions: "
            f"at most {counted(max(limit - width, 0), 'new token')}; ask for fewer or shorten the prompts."
        )
    return length


def _min_length(config: GenerationConfig, prompts: Prompts, max_length: int) -> int:
    shortest: int = config.min_length or 0
    if config.min_new_tokens is not None:
        shortest = prompts.width + config.min_new_tokens
    elif prompts.embedded:
        shortest = max(shortest - prompts.embedded, 0)
    if shortest > max_length:
        new, room = (counted(length - prompts.width, "new token") for length in (shortest, max_length))
        say_once(f"texts of at least {new} are asked for, but there is room for {room}; they end there")
    return shortest


def _processors(
    config: GenerationConfig,
    prompts: Prompts,
    max_length: int,
    ends: tuple[int, ...],
    allowed: PrefixFunction | None,
) -> Iterator[LogitsProcessor]:
    """Yield the processors that the config selects, in the reference's order."""
    source, width = prompts.source, prompts.width
    penalizes_source = (config.encoder_repetition_penalty or 1.0) != 1.0
    if source is None and (penalizes_source or config.encoder_no_repeat_ngram_size):
        say_once("penalties on the source's tokens have no effect: the source was not given as ids")
    yield KnownTokens((*ends, *tokens_of(config.pad_token_id)))
    if biases := config.sequence_bias:
        pairs = biases.items() if isinstance(biases, dict) else biases
        yield SequenceBias({tuple(sequence): number for sequence, number in pairs})
    if source is not None and penalizes_source:
        yield EncoderRepetitionPenalty(config.encoder_repetition_penalty, source)
    if config.repetition_penalty != 1.0:
        yield RepetitionPenalty(config.repetition_penalty, prompts.first)
    if config.no_repeat_ngram_size:
        yield NoRepeatNgram(config.no_repeat_ngram_size)
    if source is not None and config.encoder_no_repeat_ngram_size:
        yield NoRepeatNgram(config.encoder_no_repeat_ngram_size, source)
    # tokens that end a text are never forbidden
    if bad := [ids for ids in config.bad_words_ids or () if len(ids) > 1 or ids[0] not in ends]:
        yield SequenceBias(dict.fromkeys(map(tuple, bad), -math.inf))
    if ends:
        yield SuppressTokens(ends, 0, _min_length(config, prompts, max_length))
    if allowed is not None:
        yield PrefixConstraint(allowed, config.num_beams // config.num_beam_groups)
    if config.forced_bos_token_id is not None:
        yield ForceTokens([config.forced_bos_token_id], 1)
    if last := tokens_of(config.forced_eos_token_id):
        yield ForceTokens(last, max_length - 1)
    if config.remove_invalid_values:
        yield remove_invalid_values
    if (decay := config.exponential_decay_length_penalty) and ends:
        yield ExponentialDecayLengthPenalty(ends, int(decay[0]) + width, decay[1])
    if config.suppress_tokens:
        yield SuppressTokens(tokens_of(config.suppress_tokens))
    if config.begin_suppress_tokens:
        start = width if width > 1 or config.forced_bos_token_id is None else width + 1
        yield SuppressTokens(tokens_of(config.begin_suppress_tokens), start, start + 1)


def _filters(config: GenerationConfig, ends: tuple[int, ...]) -> list[LogitsProcessor]:
    """Return the sampling filters; beams need a token that does not end the text besides those that do."""
    least = 1 if config.num_beams == 1 else len(ends) + 1 if ends else 2
    wanted: tuple[tuple[type[filters.Filter], Any, Any], ...] = (
        (filters.TopK, config.top_k, config.top_k),
        (filters.TopP, config.top_p, config.top_p < 1.0),
        (filters.MinP, config.min_p, config.min_p is not None),
        (filters.Typical, config.typical_p, config.typical_p < 1.0),
        (filters.Epsilon, config.epsilon_cutoff, 0.0 < config.epsilon_cutoff < 1.0),
        (filters.Eta, config.eta_cutoff, 0.0 < config.eta_cutoff < 1.0),
    )
    temperature = [filters.Temperature(config.temperature)] if config.temperature != 1.0 else []
    return [*temperature, *(kind(threshold, least) for kind, threshold, is_wanted in wanted if is_wanted)]
