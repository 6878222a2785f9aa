"""``generate``: run the search that a plan selects."""

from bertie.errors import InputError, counted, spelled
from bertie.generation.assisted_search import AssistedSearch, Drafter
from bertie.generation.beam_search import BeamSearch, DiverseBeamSearch
from bertie.generation.contrastive_search import ContrastiveSearch
from bertie.generation.decoder import Decoder
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import TokenSearch

# per text and vocabulary entry, held at once in a step: logits, log-probabilities, beam sums, sort order, …
_FLOATS_PER_SCORE = 6
_NEVER_CHECKED = 1 << 30  # bytes


def generate(decoder: Decoder, prompts: Values, plan: GenerationPlan, drafter: Drafter | None = None) -> Generated:
    """Continue ``prompts [B, S]`` as ``plan`` says; a ``drafter`` requires a single text."""
    _check_memory(decoder, prompts, plan)
    if plan.streamer is not None:
        xp = functions_of(prompts)
        plan.streamer.put(xp.to_host(xp.repeat(prompts, plan.config.num_return_sequences)))
    if drafter is not None:
        found = AssistedSearch(decoder, prompts, plan, drafter).run()
    elif plan.config.num_beams > 1:
        found = (BeamSearch if plan.config.num_beam_groups == 1 else DiverseBeamSearch)(decoder, prompts, plan).run()
    else:
        found = (ContrastiveSearch if plan.config.is_contrastive else TokenSearch)(decoder, prompts, plan).run()
    if plan.streamer is not None:
        plan.streamer.end()
    return found


def _check_memory(decoder: Decoder, prompts: Values, plan: GenerationPlan) -> None:
    """Raise InputError if the scores, keys and values of all texts would exceed the available memory."""
    config, sizes = plan.config, decoder.config
    names = ("num_beams", "num_return_sequences", *(("top_k",) if config.is_contrastive else ()))
    name = max(names, key=lambda each: getattr(config, each))
    texts = len(prompts) * getattr(config, name)
    cached = 2 * sizes.num_hidden_layers * sizes.hidden_size * plan.max_length
    needed = texts * (_FLOATS_PER_SCORE * sizes.vocab_size + cached) * 4
    available = functions_of(prompts).available_memory(prompts) if needed > _NEVER_CHECKED else None
    if available is not None and needed > available:
        raise InputError(
            f"{spelled(name, getattr(config, name))} for {counted(len(prompts), 'prompt')} needs about "
            f"{needed / 1e9:,.1f} GB, but {available / 1e9:,.1f} GB are available; ask for fewer or give fewer prompts."
        )
