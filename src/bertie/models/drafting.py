"""Choosing the drafter of a call of ``generate`` (an assistant model or prompt lookup), and checking the call."""

from collections.abc import Callable
from typing import Any

from bertie.errors import InputError, InputTypeError, spelled
from bertie.generation.assisted_search import (
    ASSISTANT_TOKENS,
    CONFIDENCE_THRESHOLD,
    AssistantDrafter,
    Drafter,
    PromptLookup,
)
from bertie.generation.decoder import Decoder
from bertie.generation.generation_config import GenerationConfig
from bertie.models.decoding import PaddedPrompts
from bertie.models.pretrained import BertPreTrainedModel


def drafter_of(
    model: Any,
    assistant_model: Any,
    decoder: Decoder,
    prompts: PaddedPrompts,
    config: GenerationConfig,
    open_assistant: Callable[[], Decoder],
) -> Drafter | None:
    """Return the drafter of a call of ``model.generate`` that ``decoder`` runs; None: tokens are not drafted."""
    lookup = PromptLookup.of(config)
    if assistant_model is None and lookup is None:
        return None
    _check_call(decoder, prompts, config)
    if assistant_model is None:
        return lookup
    if lookup is not None:
        raise InputError("assistant_model and prompt_lookup_num_tokens both draft tokens; give one of them.")
    _check_assistant(model, assistant_model, prompts)

    def option(name: str, default: Any) -> Any:
        stated = (getattr(own, name, None) for own in (config, assistant_model.generation_config))
        return next((value for value in stated if value is not None), default)

    return AssistantDrafter(
        open_assistant(),
        prompts.ids,
        option("num_assistant_tokens", ASSISTANT_TOKENS),
        option("assistant_confidence_threshold", CONFIDENCE_THRESHOLD),
    )


def _check_call(decoder: Decoder, prompts: PaddedPrompts, config: GenerationConfig) -> None:
    texts = prompts.ids.shape[0] * config.num_return_sequences
    if texts > 1:
        raise InputError(f"Tokens are drafted for one text at a time, but {texts} are requested; generate each alone.")
    if config.num_beams > 1:
        raise InputError(
            f"Tokens are drafted without beams, but num_beams is {config.num_beams}; leave out one of the two."
        )
    if config.is_contrastive:
        raise InputError(
            f"Tokens are drafted for greedy search or sampling; leave out {spelled('penalty_alpha')}, or the drafter."
        )
    cache = getattr(decoder.cache, "self_attention_cache", decoder.cache)
    if not getattr(cache, "is_croppable", hasattr(cache, "crop")):
        what = "use_cache is False" if cache is None else f"a {type(cache).__name__} cannot be cropped"
        raise InputError(f"Rejected draft tokens must be removed from the cache, but {what}; use bertie's cache.")
    if config.return_dict_in_generate and (config.output_attentions or config.output_hidden_states):
        raise InputError(
            "Drafted tokens are read several at a time, so attentions and hidden states of single steps cannot be "
            "returned; leave out output_attentions and output_hidden_states, or the drafter."
        )


def _check_assistant(model: Any, assistant_model: Any, prompts: PaddedPrompts) -> None:
    if not isinstance(assistant_model, BertPreTrainedModel) or not hasattr(assistant_model, "generate"):
        raise InputTypeError(
            f"assistant_model is a {type(assistant_model).__name__}; it must be one of bertie's models that generate."
        )
    if hasattr(assistant_model, "encoder") and not hasattr(model, "encoder"):
        raise InputTypeError("assistant_model is an encoder-decoder, but the model is not; give a BertLMHeadModel.")
    assistant_size, own_size = (
        getattr(each.config, "decoder", each.config).vocab_size for each in (assistant_model, model)
    )
    if assistant_size != own_size:
        raise InputError(
            f"assistant_model's vocabulary has {assistant_size} tokens and the model's {own_size}; they must be equal."
        )
    if not getattr(assistant_model.config, "decoder", assistant_model.config).is_decoder:
        raise InputError("assistant_model is not a decoder: config.is_decoder is False; load it with is_decoder=True.")
    if prompts.columns_before > 0:
        raise InputError("assistant_model reads whole texts as ids; give them instead of new tokens or inputs_embeds.")
