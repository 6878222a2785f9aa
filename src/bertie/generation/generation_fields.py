"""What the fields of a GenerationConfig may hold, and which of the reference's are without effect or refused here."""

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
    "max_length": _count("most tokens of a text, its prompt included", 1),
    "max_new_tokens": _count("most new tokens; it goes before max_length", 1),
    "min_length": _count("fewest tokens of a text, its prompt included"),
    "min_new_tokens": _count("fewest new tokens; it goes before min_length"),
    "early_stopping": Rule("beams: stop at num_beams ended ones; 'never': when none can be better", "stop", none=True),
    "max_time": _number("seconds after which no step is begun", 0, 1e12),
    "do_sample": _switch("draw words instead of taking the likeliest"),
    "num_beams": _count("beams; 1: none", 1),
    "num_beam_groups": _count("groups of beams that keep apart from each other (arXiv 1610.02424)", 1),
    "diversity_penalty": _number("taken off a word's score for each beam of groups before that chose it", 0, 1e6),
    "penalty_alpha": _number("contrastive search: what likeness to words before counts (arXiv 2202.06417)", 0, 1),
    "use_cache": _switch("keep keys and values between steps"),
    "temperature": _number("scores are divided by it before a draw", 0, 1e6, above=True),
    "top_k": _count("draw, or choose with penalty_alpha, among so many likeliest words; 0: all"),
    "top_p": _number("draw among the likeliest words that have this probability together (arXiv 1904.09751)", 0, 1),
    "min_p": _number("draw among words at least so likely relative to the likeliest (arXiv 2407.01082)", 0, 1),
    "typical_p": _number("draw among the most typical words of this probability (arXiv 2202.00666)", 0, 1, above=True),
    "epsilon_cutoff": _number("draw among words of at least this probability (arXiv 2210.15191)", 0, 1),
    "eta_cutoff": _number("the same, lowered where the entropy is high (arXiv 2210.15191)", 0, 1),
    "repetition_penalty": _number("above 1: a text's words become less likely (arXiv 1909.05858)", 0, 1e6, above=True),
    "encoder_repetition_penalty": _number("above 1: words of the source become more likely", 0, 1e6, above=True),
    "length_penalty": _number("a beam's score is divided by its length to this power", -1e6, 1e6),
    "no_repeat_ngram_size": _count("no so many words in a row occur twice; 0: they may"),
    "encoder_no_repeat_ngram_size": _count("no so many words in a row of the source occur; 0: they may"),
    "bad_words_ids": Rule("sequences of ids that do not occur", "sequences", none=True),
    "sequence_bias": Rule("what to add to the scores of sequences of ids", "biases", none=True),
    "renormalize_logits": _switch("make the processed scores log-probabilities"),
    "forced_bos_token_id": _count("the token after a text's first"),
    "forced_eos_token_id": Rule("the token at max_length", "tokens", none=True),
    "remove_invalid_values": _switch("read NaN as 0 and infinity as the largest number"),
    "exponential_decay_length_penalty": Rule("(start, factor): the end gets likelier from there", "pair", none=True),
    "suppress_tokens": Rule("tokens that do not occur", "tokens", none=True),
    "begin_suppress_tokens": Rule("tokens that do not come first", "tokens", none=True),
    "num_return_sequences": _count("texts returned for each prompt", 1),
    "output_attentions": _switch("return the attention weights of every step"),
    "output_hidden_states": _switch("return the hidden states of every step"),
    "output_scores": _switch("return the processed scores of every step"),
    "output_logits": _switch("return the model's scores of every step"),
    "return_dict_in_generate": _switch("return an output object, not ids alone"),
    "pad_token_id": _count("stands after a text's end"),
    "bos_token_id": _count("begins a text where no prompt is given"),
    "eos_token_id": Rule("ends a text: a token, or several", "tokens", none=True),
    "decoder_start_token_id": Rule("begins a decoder's text: a token, or one a text", "tokens", none=True),
    "num_assistant_tokens": _count("words that assistant_model drafts at most (arXiv 2211.17192)", 1),
    "assistant_confidence_threshold": _number("a word less likely than this is a draft's last", 0, 1),
    "prompt_lookup_num_tokens": _count("words drafted at most of what came after the last words before", 1),
    "max_matching_ngram_size": _count("most last words that are looked up", 1),
    "transformers_version": Rule("version that wrote the file", "string", none=True),
}
# what a call may bring besides, and no file holds
FUNCTIONS = ("streamer", "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn")
# the reference's other fields: those that change no answer …
WITHOUT_EFFECT = {
    "cache_implementation": "bertie's cache has room and grows",
    "cache_config": "bertie's cache has nothing to be set",
    "max_cache_len": "bertie's cache grows",
    "compile_config": "call bertie.compile",
    "disable_compile": "nothing is compiled",
    "prefill_chunk_size": "a prompt is read at once",
    "low_memory": "beams need little memory",
    "num_assistant_tokens_schedule": "an assistant drafts num_assistant_tokens words, or fewer",
    "assistant_lookbehind": "an assistant has the model's own tokens",
    "target_lookbehind": "an assistant has the model's own tokens",
    "is_assistant": "an assistant is known by assistant_model",
    "continuous_batching_config": "texts of a batch are computed without padding",
}
# … and those that would, with the values that ask for nothing
NOT_OFFERED: dict[str, tuple[Any, ...]] = {
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
    """Return ``value`` as the field ``name`` stores it."""
    rule = FIELDS[name]
    if hasattr(value, "tolist"):  # tensors and NumPy's numbers would not go into JSON
        value = value.tolist()
    if value is None:
        return None
    check, allowed = _KINDS.get(rule.kind, (rule.allows, rule.allowed))
    if not check(value):
        raise ConfigError(f"{name} is {short(value)}; allowed: {allowed}")
    return list(value) if isinstance(value, tuple) and rule.kind == "tokens" else value


def refuse_others(fields: Mapping[str, Any]) -> None:
    """Refuse fields of the reference's that bertie does not offer, and say which are without effect."""
    for name, value in fields.items():
        if value is None:
            continue
        if name in WITHOUT_EFFECT:
            say_once(f"{name} ({short(value)}) is without effect: {WITHOUT_EFFECT[name]}")
        if name in NOT_OFFERED and value not in NOT_OFFERED[name]:
            raise ConfigError(f"{name} is {short(value)}, which bertie's generate does not offer; leave it out")


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
