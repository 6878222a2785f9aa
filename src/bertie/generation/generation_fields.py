"""The fields of a GenerationConfig and their allowed values, and the reference's fields that are ignored or refused."""

from collections.abc import Mapping
from typing import Any

from bertie.errors import ConfigError
from bertie.messages import short
from bertie.progress import say_once
from bertie.rules import Rule


def _switch(doc: str) -> Rule:
    return Rule(doc, "true or false", none=True)


def _count(doc: str, low: int = 0) -> Rule:
    return Rule(doc, "integer", low, none=True)


def _number(doc: str, low: float, high: float, above: bool = False) -> Rule:
    return Rule(doc, "number", low, high, above=above, none=True)


FIELDS: dict[str, Rule] = {
    "max_length": _count("maximum tokens of a text, including its prompt", 1),
    "max_new_tokens": _count("maximum new tokens; takes precedence over max_length", 1),
    "min_length": _count("minimum tokens of a text, including its prompt"),
    "min_new_tokens": _count("minimum new tokens; takes precedence over min_length"),
    "early_stopping": Rule(
        "beams: stop at num_beams finished ones; 'never': once none can be better", "stop", none=True
    ),
    "max_time": _number("seconds after which no new step starts", 0, 1e12),
    "do_sample": _switch("sample tokens instead of taking the most probable"),
    "num_beams": _count("number of beams; 1: no beam search", 1),
    "num_beam_groups": _count("groups of beams that differ from each other (arXiv 1610.02424)", 1),
    "diversity_penalty": _number(
        "subtracted from a token's score for each beam of earlier groups that chose it", 0, 1e6
    ),
    "penalty_alpha": _number("contrastive search: weight of similarity to earlier tokens (arXiv 2202.06417)", 0, 1),
    "use_cache": _switch("cache keys and values between steps"),
    "temperature": _number("divides the scores before sampling", 0, 1e6, above=True),
    "top_k": _count("sample, or choose with penalty_alpha, among the top_k most probable tokens; 0: all"),
    "top_p": _number("sample among the fewest tokens with this total probability (arXiv 1904.09751)", 0, 1),
    "min_p": _number("sample among tokens of at least this fraction of the top probability (arXiv 2407.01082)", 0, 1),
    "typical_p": _number(
        "sample among the most typical tokens with this total probability (arXiv 2202.00666)", 0, 1, above=True
    ),
    "epsilon_cutoff": _number("sample among tokens of at least this probability (arXiv 2210.15191)", 0, 1),
    "eta_cutoff": _number("as epsilon_cutoff, lower at high entropy (arXiv 2210.15191)", 0, 1),
    "repetition_penalty": _number(
        "above 1: a text's tokens become less probable (arXiv 1909.05858)", 0, 1e6, above=True
    ),
    "encoder_repetition_penalty": _number("above 1: tokens of the source become more probable", 0, 1e6, above=True),
    "length_penalty": _number("a beam's score is divided by its length to this power", -1e6, 1e6),
    "no_repeat_ngram_size": _count("n-grams of this size occur at most once; 0: no limit"),
    "encoder_no_repeat_ngram_size": _count("n-grams of this size from the source never occur; 0: no limit"),
    "bad_words_ids": Rule("sequences of ids that never occur", "sequences", none=True),
    "sequence_bias": Rule("added to the scores of sequences of ids", "biases", none=True),
    "renormalize_logits": _switch("normalise the processed scores to log-probabilities"),
    "forced_bos_token_id": _count("the token after a text's first"),
    "forced_eos_token_id": Rule("the token at max_length", "tokens", none=True),
    "remove_invalid_values": _switch("replace NaN by 0 and infinity by the largest value"),
    "exponential_decay_length_penalty": Rule(
        "(start, factor): the end becomes more probable from start on", "pair", none=True
    ),
    "suppress_tokens": Rule("tokens that never occur", "tokens", none=True),
    "begin_suppress_tokens": Rule("tokens that are never generated first", "tokens", none=True),
    "num_return_sequences": _count("texts returned per prompt", 1),
    "output_attentions": _switch("return the attention weights of every step"),
    "output_hidden_states": _switch("return the hidden states of every step"),
    "output_scores": _switch("return the processed scores of every step"),
    "output_logits": _switch("return the model's scores of every step"),
    "return_dict_in_generate": _switch("return an output object instead of ids"),
    "pad_token_id": _count("fills texts after their end"),
    "bos_token_id": _count("starts a text without a prompt"),
    "eos_token_id": Rule("ends a text: one token or several", "tokens", none=True),
    "decoder_start_token_id": Rule("starts a decoder's text: one token, or one per text", "tokens", none=True),
    "num_assistant_tokens": _count("maximum tokens that assistant_model drafts (arXiv 2211.17192)", 1),
    "assistant_confidence_threshold": _number("a draft ends at a token less probable than this", 0, 1),
    "prompt_lookup_num_tokens": _count(
        "maximum tokens drafted from what followed an earlier occurrence of the last n-gram", 1
    ),
    "max_matching_ngram_size": _count("maximum size of that n-gram", 1),
    "transformers_version": Rule("version that wrote the file", "string", none=True),
}
# further arguments of a call, which no file holds
FUNCTIONS = ("streamer", "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn")
# the reference's other fields: those that do not change the result …
WITHOUT_EFFECT = {
    "cache_implementation": "bertie's cache grows as needed",
    "cache_config": "bertie's cache needs no settings",
    "max_cache_len": "bertie's cache grows as needed",
    "compile_config": "call bertie.compile",
    "disable_compile": "nothing is compiled",
    "prefill_chunk_size": "a prompt is read in one step",
    "low_memory": "beams need little memory",
    "num_assistant_tokens_schedule": "an assistant always drafts up to num_assistant_tokens tokens",
    "assistant_lookbehind": "an assistant must have the model's vocabulary",
    "target_lookbehind": "an assistant must have the model's vocabulary",
    "is_assistant": "the argument assistant_model decides",
    "continuous_batching_config": "texts of a batch are computed without padding",
}
# … and those that would, with their neutral values
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "stop_strings": (),
    "top_h": (),
    "token_healing": (False,),
    "guidance_scale": (1, 1.0),
    "watermarking_config": (),
    "constraints": (),
    "force_words_ids": (),
    "dola_layers": (),
    "assistant_early_exit": (),
    "assistant_ensemble_weight": (),
    "speculation_type": (),
    "use_mtp": (False,),
}


def tokens_of(tokens: int | list[int] | None) -> list[int]:
    return [] if tokens is None else [tokens] if isinstance(tokens, int) else list(tokens)


def checked(name: str, value: Any) -> Any:
    """Return ``value`` as stored in the field ``name``, or raise ConfigError."""
    rule = FIELDS[name]
    if hasattr(value, "tolist"):  # tensors and NumPy scalars cannot be written as JSON
        value = value.tolist()
    if value is None:
        return None
    check, allowed = _KINDS.get(rule.kind, (rule.allows, rule.allowed))
    if not check(value):
        raise ConfigError(f"{name} is {short(value)}; allowed: {allowed}")
    return list(value) if isinstance(value, tuple) and rule.kind == "tokens" else value


def refuse_others(fields: Mapping[str, Any]) -> None:
    """Refuse the reference's fields that bertie does not support, and warn of those without effect."""
    for name, value in fields.items():
        if value is None:
            continue
        if name in WITHOUT_EFFECT:
            say_once(f"{name} ({short(value)}) has no effect: {WITHOUT_EFFECT[name]}")
        if name in UNSUPPORTED and value not in UNSUPPORTED[name]:
            raise ConfigError(f"{name} is {short(value)}, which bertie's generate does not support; leave it out")


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_tokens(value: Any) -> bool:
    return _is_token(value) or (isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_token, value)))


def _are_sequences(value: Any) -> bool:
    rows = value if isinstance(value, list | tuple) else ()
    return len(rows) > 0 and all(isinstance(row, list | tuple) and _are_tokens(row) for row in rows)


def _are_biases(value: Any) -> bool:
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    return isinstance(pairs, list) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and _are_sequences(pair[:1]) and isinstance(pair[1], float)
        for pair in pairs
    )


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(each, int | float) for each in value)


_KINDS = {
    "tokens": (_are_tokens, "a token's id, or several in a list, or None"),
    "sequences": (_are_sequences, "a list of lists of token ids, or None"),
    "biases": (_are_biases, "a list of [[ids], number], or {(ids): number}, or None"),
    "pair": (_is_pair, "(start, factor), or None"),
    "stop": (lambda value: value in (True, False, "never"), "True, False or 'never', or None"),
}
