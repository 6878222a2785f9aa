"""``model.generate``: turns the reference's arguments into prompts, a decoder and a plan, and runs the search."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bertie.attention.cache import Cache, EncoderDecoderCache
from bertie.errors import InputError, InputTypeError, counted, nearest, spelled
from bertie.generation.decoder import Decoder
from bertie.generation.generate import generate as search
from bertie.generation.generation_config import GenerationConfig
from bertie.generation.generation_fields import FIELDS, UNSUPPORTED, WITHOUT_EFFECT, tokens_of
from bertie.generation.generation_plan import GenerationPlan, PrefixFunction, StoppingCriterion
from bertie.generation.logits_processors import LogitsProcessor
from bertie.generation.streamers import Streamer
from bertie.layers.rectangle import Given
from bertie.models.decoding import PackedDecoder, PaddedDecoder, PaddedPrompts
from bertie.models.drafting import drafter_of
from bertie.models.generate_outputs import output_of
from bertie.models.hooks import has_observers
from bertie.models.loading import ConfigLike
from bertie.models.model_inputs import check_embeds, pack_encoder_states
from bertie.packing import Packed, require_integers, require_tensor
from bertie.progress import say_once

# further arguments of the reference's generate that bertie does not support
_UNSUPPORTED_ARGUMENTS = (
    *("synced_gpus", "negative_prompt_ids", "negative_prompt_attention_mask", "custom_generate", "use_model_defaults"),
    *("tokenizer", "assistant_tokenizer", "trust_remote_code", "logits_to_keep", "return_dict"),
)


@torch.no_grad()
def generate(
    self: Any,
    inputs: Tensor | Packed | None = None,
    generation_config: ConfigLike | None = None,
    logits_processor: Sequence[LogitsProcessor] | None = None,
    stopping_criteria: Sequence[StoppingCriterion] | None = None,
    prefix_allowed_tokens_fn: PrefixFunction | None = None,
    *,
    streamer: Streamer | None = None,
    generator: torch.Generator | None = None,
    assistant_model: Any = None,
    input_ids: Tensor | Packed | None = None,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    position_ids: Tensor | None = None,
    inputs_embeds: Tensor | None = None,
    encoder_hidden_states: Tensor | Packed | None = None,
    encoder_attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **options: Any,
) -> Any:  # a Tensor, or with return_dict_in_generate a ModelOutput
    """Continue texts by greedy search, sampling, beam search or contrastive search.

    Neither padding of the prompts, on either side, nor finished texts are computed.

    Args:
        inputs: prompts ``[B, S]``, or a ``Packed``, which is returned padded on the left; None: one text that starts
            with ``bos_token_id``.
        generation_config: how tokens are chosen; None: ``model.generation_config``.
        logits_processor: functions of the ids so far and the scores ``[B, V]`` that return scores.
        stopping_criteria: functions of the ids so far and the scores of all steps (or None) that return which texts
            end, bool ``[B]``, or one bool for all.
        prefix_allowed_tokens_fn: returns the tokens allowed next, from a text's index and its ids so far.
        streamer: receives the prompts, and the tokens of each step.
        generator: for sampling; None: PyTorch's global one.
        assistant_model: a smaller ``BertLMHeadModel`` with the same vocabulary that drafts tokens, which this model
            verifies several at a time; for one text without beams. Greedy results are the same, and sampled ones have
            the same distribution (arXiv 2211.17192). ``prompt_lookup_num_tokens`` drafts from the text itself.
        input_ids: an alias of ``inputs``.
        attention_mask, token_type_ids, position_ids: ``[B, S]``; new tokens take the type of a text's last token, and
            positions continue from it. Without a mask, ``pad_token_id`` is padding, unless it also ends texts.
        inputs_embeds: ``[B, S, D]`` before, or instead of, ids.
        encoder_hidden_states, encoder_attention_mask: input of cross-attention, ``[B, S_encoder, D]``, and its mask.
        past_key_values: a cache of the texts' first tokens. Prompts are whole texts; or, with a mask over whole texts,
            only their new tokens.
        options: fields of ``generation_config`` for this call.

    Returns:
        The texts ``[B * num_return_sequences, S + new tokens]`` with ``pad_token_id`` after their ends; with
        ``return_dict_in_generate`` the reference's output class, which holds them as ``sequences``.

    Raises:
        ConfigError, InputError, InputTypeError: an argument is wrong; the message names it.
        BertieError: scores are NaN, or leave no token to choose.
    """
    if not self.config.is_decoder:
        raise InputError(
            "generate needs a decoder, but config.is_decoder is False: tokens would attend to those after them; load "
            "the model with is_decoder=True."
        )
    check_generator(generator)
    config = settled_config(self, generation_config, options)
    given = Given(one_of(inputs, input_ids), attention_mask, token_type_ids, position_ids, inputs_embeds)
    if isinstance(given.input_ids, Packed):
        given = _rows_of(given, config)
    if inputs_embeds is not None:
        check_embeds(self.config, inputs_embeds)
    has_past = self.bert.past_length(past_key_values) > 0
    prompts = prompt_rows(config, given, self.device, has_past)
    encoder = encoder_states(self.config, encoder_hidden_states, encoder_attention_mask)
    decoder = decoder_of(self, prompts, config, past_key_values, encoder)

    def open_assistant() -> Decoder:
        return decoder_of(assistant_model, prompts, config, None, None, ())

    drafter = drafter_of(self, assistant_model, decoder, prompts, config, open_assistant)
    functions = logits_processor, stopping_criteria, prefix_allowed_tokens_fn, streamer, generator
    plan = GenerationPlan.of(config, prompts.to_plan(), decoder.limit, *functions)
    found = search(decoder, prompts.ids, plan, drafter)
    return output_of(found, decoder.cache) if config.return_dict_in_generate else found.sequences


def check_generator(generator: Any) -> None:
    if generator is not None and not isinstance(generator, torch.Generator):
        raise InputTypeError(f"generator is a {type(generator).__name__}; it must be a torch.Generator.")


def settled_config(model: Any, given: ConfigLike | None, options: dict[str, Any]) -> GenerationConfig:
    """Return the config of a call, after refusing options that are not fields."""
    own = GenerationConfig.of(model.generation_config)  # programs may set the reference's class
    known = {**FIELDS, **WITHOUT_EFFECT, **UNSUPPORTED}
    for name in [name for name in options if name not in known]:
        value = options.pop(name)
        # programs pass empty arguments, and trainers whole batches with their labels
        if value is None or value is False or name == "labels":
            continue
        hint = "" if name in _UNSUPPORTED_ARGUMENTS else nearest(name, known)
        raise InputTypeError(f"{type(model).__name__}.generate takes no argument {name!r}.{hint}")
    return (own if given is None else GenerationConfig.of(given)).settled(own, **options)


def one_of(inputs: Any, input_ids: Any) -> Any:
    if inputs is not None and input_ids is not None:
        raise InputError("inputs and input_ids both name the prompts; give one of them.")
    return input_ids if inputs is None else inputs


def _rows_of(given: Given, config: GenerationConfig) -> Given:
    """Return a `Packed` as rows padded on the left."""
    packed, *beside = given
    if any(each is not None for each in beside):
        raise InputError("A Packed already holds its padding, positions and token types: pass it alone.")
    if packed.input_ids is None:
        raise InputError("A Packed of prompts must have ids; give vectors as inputs_embeds [B, S, D].")
    texts, width = packed.shape[0], max(packed.lengths, default=0)
    ends = torch.arange(1, texts + 1, device=packed.device) * width - packed.cu_seqlens[1:]
    cells = torch.arange(packed.num_tokens, device=packed.device)
    cells = cells + ends.repeat_interleave(packed.cu_seqlens.diff().long(), output_size=packed.num_tokens)

    def rows(values: Tensor, fill: int) -> Tensor:
        blank = values.new_full((texts * width,), fill)
        return blank.index_copy(0, cells, values).view(texts, width)

    ids = rows(packed.input_ids, config.pad_token_id or 0)
    mask = rows(torch.ones_like(packed.input_ids), 0)
    return Given(ids, mask, rows(packed.token_type_ids, 0), rows(packed.position_ids, 0))


def prompt_rows(config: GenerationConfig, given: Given, device: torch.device, has_past: bool) -> PaddedPrompts:
    """Return the checked prompts."""
    ids, mask, types, positions, embeds = given
    if mask is not None:
        require_tensor("attention_mask", mask)
    if ids is None:
        ids = _empty_or_begun(config, embeds, device)
    require_tensor("inputs", ids, "a torch.Tensor or a Packed")
    require_integers("inputs", ids)
    if ids.dim() != 2:
        raise InputError(f"Prompts must have 2 dimensions [batch, length], not shape {tuple(ids.shape)}.")
    ids, mask = ids.to(device).long(), None if mask is None else mask.to(device)
    real = _real(config, Given(ids, mask, inputs_embeds=embeds), has_past)
    if real.shape[1] == 0 or not bool(real.any(dim=1).all()):
        empty = 0 if real.shape[1] == 0 else int((~real.any(dim=1)).nonzero()[0])
        raise InputError(f"Prompt {empty} has no tokens; give one at least, such as bos_token_id.")
    own = (real.cumsum(dim=1) - 1).clamp(min=0)
    positions = _laid_out("position_ids", positions, own)
    return PaddedPrompts(ids, real, positions, _laid_out("token_type_ids", types, torch.zeros_like(own)), embeds)


def _empty_or_begun(config: GenerationConfig, embeds: Tensor | None, device: torch.device) -> Tensor:
    if embeds is not None:
        return torch.zeros(embeds.shape[0], 0, dtype=torch.int64, device=embeds.device)
    if config.bos_token_id is None:
        raise InputError("There are no prompts; give inputs, or a bos_token_id to start from.")
    return torch.full((1, 1), config.bos_token_id, device=device)


def _real(config: GenerationConfig, given: Given, has_past: bool) -> Tensor:
    """Return which columns of prompts and cached tokens are not padding, bool ``[B, W]``."""
    ids, mask, *_, embeds = given
    pad, width = config.pad_token_id, given.content().shape[1]
    if mask is None:
        is_guessed = embeds is None and pad is not None and pad not in tokens_of(config.eos_token_id)
        real = ids != pad if is_guessed else torch.ones(ids.shape[0], width, dtype=torch.bool, device=ids.device)
        if not bool(real.all()):
            say_once(
                f"no attention_mask is given, so tokens {pad} (pad_token_id) in the prompts are treated as padding"
            )
        return real
    fits = mask.dim() == 2 and mask.shape[0] == ids.shape[0]
    if not fits or not (mask.shape[1] == width or (has_past and mask.shape[1] > width)):
        raise InputError(
            f"attention_mask has shape {tuple(mask.shape)}, but there are {counted(ids.shape[0], 'prompt')} of width "
            f"{width}; give one 0 or 1 per token"
            f"{', those in past_key_values included' if has_past else ''}."
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise InputError("attention_mask of generate may hold only 0 and 1 (or False and True).")
    return mask != 0


def _laid_out(name: str, values: Tensor | None, default: Tensor) -> Tensor:
    """Return ``values`` broadcast to the shape of ``default [B, W]``, which precedes values of new tokens only."""
    if values is None:
        return default
    require_tensor(name, values)
    require_integers(name, values)
    values = values.to(default)
    values = values.expand(default.shape[0], -1) if values.dim() < 3 else values
    if values.dim() == 2 and values.shape[1] < default.shape[1]:
        values = torch.cat([default[:, : default.shape[1] - values.shape[1]], values], dim=1)
    if values.shape != default.shape:
        raise InputError(f"{name} has shape {tuple(values.shape)}, but the prompts have {tuple(default.shape)}.")
    return values


def encoder_states(config: Any, states: Tensor | Packed | None, mask: Tensor | None) -> Packed | None:
    """Return the encoder's hidden states without padding, packed once for all steps."""
    if mask is not None and mask.dim() != 2:
        raise InputError(f"encoder_attention_mask has shape {tuple(mask.shape)}; generate takes [batch, length].")
    packed = pack_encoder_states(config, states, mask)
    if packed is None or isinstance(states, Packed):
        return packed
    return Packed.from_padded(inputs_embeds=states, attention_mask=mask)


def decoder_of(
    model: Any,
    prompts: PaddedPrompts,
    config: GenerationConfig,
    cache: Any,
    encoder: Packed | None,
    wanted: tuple[str, ...] = ("attentions", "hidden_states"),
) -> Decoder:
    """Return the `Decoder` of ``model``: the packed one unless cache, outputs or observers need padded rows."""
    extras: tuple[str, ...] = ()
    if config.return_dict_in_generate:
        asked = {"hidden_states"} if config.output_hidden_states else set()
        asked |= {"attentions", "cross_attentions"} if config.output_attentions else set()
        extras = tuple(name for name in wanted if name in asked)
    uses_cache = config.use_cache or cache is not None or prompts.embeds is not None
    if config.is_contrastive and cache is not None and cache.get_seq_length():
        raise InputError(
            f"{spelled('penalty_alpha', config.penalty_alpha)} compares tokens with the hidden states of all "
            "earlier ones, which past_key_values does not hold; give whole texts without a cache."
        )
    if cache is None and uses_cache:
        cache = Cache() if encoder is None else EncoderDecoderCache()
    own = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
    packs = (
        isinstance(own, Cache)
        and own.lengths is not None
        and not extras
        and model.config.position_embedding_type == "absolute"
        and not has_observers(model)
    )
    if packs:
        return PackedDecoder(model, prompts, cache, encoder)
    return PaddedDecoder(model, prompts, cache, encoder, extras)
