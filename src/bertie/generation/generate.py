"""``generate``: the search that a plan asks for."""

from collections.abc import Callable

from bertie.generation.assisted_search import Drafter, search_assisted
from bertie.generation.beam_search import search_beams
from bertie.generation.contrastive_search import search_contrastive
from bertie.generation.decoder import Decoder
from bertie.generation.diverse_beams import search_diverse_beams
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated
from bertie.generation.generation_config import GenerationConfig
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import search_tokens


def generate(decoder: Decoder, prompts: Values, plan: GenerationPlan, drafter: Drafter | None = None) -> Generated:
    """Go on with the texts of ``prompts [B, S]`` as ``plan`` says; with a ``drafter`` it is one text.

    Raises:
        BertieError: a text's scores are NaN, or leave no word to choose.
        InputError, InputTypeError: from a processor or a stopping criterion.
    """
    if plan.streamer is not None:
        xp = functions_of(prompts)
        plan.streamer.put(xp.shown(xp.repeat(prompts, plan.config.num_return_sequences)))
    if drafter is not None:
        found = search_assisted(decoder, prompts, plan, drafter)
    else:
        found = _search_of(plan.config)(decoder, prompts, plan)
    if plan.streamer is not None:
        plan.streamer.end()
    return found


def _search_of(config: GenerationConfig) -> Callable[[Decoder, Values, GenerationPlan], Generated]:
    if config.num_beams == 1:
        return search_contrastive if config.is_contrastive else search_tokens
    return search_beams if config.num_beam_groups == 1 else search_diverse_beams
