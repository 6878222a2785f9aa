"""``EncoderDecoderModel.generate``: the source is encoded once, and the decoder continues from its first token."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bertie.errors import InputError
from bertie.generation.decoder import Decoder
from bertie.generation.generate import generate as search
from bertie.generation.generation_config import GenerationConfig
from bertie.generation.generation_fields import tokens_of
from bertie.generation.generation_plan import GenerationPlan, PrefixFunction, StoppingCriterion
from bertie.generation.logits_processors import LogitsProcessor
from bertie.generation.streamers import Streamer
from bertie.layers.rectangle import Given
from bertie.models.drafting import drafter_of
from bertie.models.generate_outputs import output_of
from bertie.models.generating import check_generator, decoder_of, encoder_states, one_of, prompt_rows, settled_config
from bertie.models.loading import ConfigLike
from bertie.outputs import ModelOutput
from bertie.packing import Packed


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
    encoder_outputs: ModelOutput | tuple[Tensor, ...] | None = None,
    decoder_input_ids: Tensor | None = None,
    decoder_attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **options: Any,
) -> Any:  # a Tensor, or with return_dict_in_generate a ModelOutput
    """Generate a target for each source by greedy search, sampling, beam search or contrastive search.

    Args:
        inputs: the sources ``[B, S]``, or a ``Packed``; ``input_ids`` is an alias.
        attention_mask, token_type_ids, position_ids, inputs_embeds: as in ``forward``.
        encoder_outputs: the encoder's output for these sources, if already computed.
        decoder_input_ids, decoder_attention_mask: the beginnings of the targets ``[B, S_target]``; None: each starts
            with ``decoder_start_token_id``, or ``bos_token_id``, which is prepended if no beginning has it.
        generation_config, logits_processor, stopping_criteria, prefix_allowed_tokens_fn: as in
            ``BertLMHeadModel.generate``.
        assistant_model: as there; or a smaller ``EncoderDecoderModel``, which encodes the source itself.
        streamer, generator, past_key_values, options: as there.

    Returns:
        The targets ``[B * num_return_sequences, S_target]``; with ``return_dict_in_generate`` the reference's output
        class, which holds them as ``sequences``.

    Raises:
        ConfigError, InputError, InputTypeError: an argument is wrong; the message names it.
        BertieError: scores are NaN, or leave no token to choose.
    """
    check_generator(generator)
    config = settled_config(self, generation_config, options)
    sources = one_of(inputs, input_ids)
    extras = {f"output_{name}": bool(getattr(config, f"output_{name}")) for name in ("attentions", "hidden_states")}
    given = Given(sources, attention_mask, token_type_ids, position_ids, inputs_embeds)
    if encoder_outputs is None:
        source = self.read(given, **extras)
    else:
        source = self.read_before(encoder_outputs, attention_mask)
    encoder = encoder_states(self.config.decoder, source.states, source.mask)
    assert encoder is not None
    if 0 in encoder.lengths:
        raise InputError(f"Source {encoder.lengths.index(0)} has no tokens; give one at least, such as [CLS].")
    ids, mask = _beginnings(config, decoder_input_ids, decoder_attention_mask, encoder)
    columns = torch.arange(mask.shape[1], device=ids.device)  # positions are column numbers, as in the reference
    has_past = self.decoder.bert.past_length(past_key_values) > 0
    prompts = prompt_rows(config, Given(ids, mask, position_ids=columns), self.device, has_past)
    wanted = ("attentions", "cross_attentions", "hidden_states")
    decoder = decoder_of(self.decoder, prompts, config, past_key_values, encoder, wanted)

    def open_assistant() -> Decoder:
        if not hasattr(assistant_model, "decoder"):
            return decoder_of(assistant_model, prompts, config, None, None, ())
        if sources is None and inputs_embeds is None:
            raise InputError("assistant_model reads the sources itself; give them with encoder_outputs.")
        own = assistant_model.read(given)
        read = encoder_states(assistant_model.config.decoder, own.states, own.mask)
        return decoder_of(assistant_model.decoder, prompts, config, None, read, ())

    drafter = drafter_of(self, assistant_model, decoder, prompts, config, open_assistant)
    functions = logits_processor, stopping_criteria, prefix_allowed_tokens_fn, streamer, generator
    source_ids = sources if isinstance(sources, Tensor) else None
    plan = GenerationPlan.of(config, prompts.to_plan(source_ids), decoder.limit, *functions)
    found = search(decoder, prompts.ids, plan, drafter)
    return output_of(found, decoder.cache, source.output.get) if config.return_dict_in_generate else found.sequences


def _beginnings(
    config: GenerationConfig, ids: Tensor | None, mask: Tensor | None, encoder: Packed
) -> tuple[Tensor, Tensor]:
    """Return the beginnings of the targets and their mask, both ``[B, S]``."""
    count = encoder.shape[0]
    starts = tokens_of(config.decoder_start_token_id) or tokens_of(config.bos_token_id)
    if not starts:
        raise InputError("Targets start with decoder_start_token_id, which is None; pass it, or set it in the config.")
    if len(starts) not in (1, count):
        raise InputError(f"decoder_start_token_id has {len(starts)} tokens for {count} sources; give one, or one each.")
    first = torch.tensor(starts, device=encoder.device).expand(count)[:, None]
    if ids is None:
        return first, torch.ones_like(first)
    if ids.dim() != 2 or ids.shape[0] != count or ids.shape[1] == 0:
        raise InputError(f"decoder_input_ids has shape {tuple(ids.shape)}; for {count} sources give [{count}, length].")
    mask = torch.ones_like(ids) if mask is None else mask
    if not bool((ids[:, :1] == first).any()):
        ids, mask = torch.cat([first, ids], dim=1), torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
    return ids, mask
