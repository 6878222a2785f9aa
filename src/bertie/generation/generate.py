"""``generate``: the search that a plan asks for."""

from bertie.generation.beam_search import search_beams
from bertie.generation.decoder import Decoder
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import search_tokens


def generate(decoder: Decoder, prompts: Values, plan: GenerationPlan) -> Generated:
    """Go on with the texts of ``prompts [B, S]`` as ``plan`` says.

    Raises:
        BertieError: a text's scores are NaN, or leave no word to choose.
        InputError, InputTypeError: from a processor or a stopping criterion.
    """
    if plan.streamer is not None:
        xp = functions_of(prompts)
        plan.streamer.put(xp.shown(xp.repeat(prompts, plan.config.num_return_sequences)))
    search = search_tokens if plan.config.num_beams == 1 else search_beams
    found = search(decoder, prompts, plan)
    if plan.streamer is not None:
        plan.streamer.end()
    return found
