"""One word a step for each text: the likeliest (greedy search), or one drawn (sampling)."""

from typing import Any

from bertie.errors import BertieError, counted
from bertie.generation.decoder import Decoder
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_plan import GenerationPlan


def search_tokens(decoder: Decoder, prompts: Values, plan: GenerationPlan) -> Generated:
    """Go on with the texts of ``prompts [B, S]``, ``num_return_sequences`` times each, until all have ended.

    Raises:
        BertieError: a text's scores are NaN, or leave no word to choose.
    """
    xp, repeats = functions_of(prompts), plan.config.num_return_sequences
    record, output = StepRecord(plan.config), decoder.step(prompts).repeated(repeats)
    decoder.repeat(repeats)
    count, length = output.logits.shape[0], prompts.shape[1]
    sequences = xp.full(prompts, (count, plan.max_length), 0)
    sequences[:, :length] = xp.repeat(prompts, repeats)
    running = sequences[:, 0] >= 0  # all of them
    while True:
        logits = xp.float32(output.logits)
        scores = plan.process(sequences[:, :length], logits)
        record.add(output, logits, scores)
        is_drawn = plan.config.do_sample
        words = drawn(chances_of(scores, running), plan.generator) if is_drawn else likeliest(scores, running)
        if plan.ends:
            words = xp.where(running, words, plan.pad)
        sequences[:, length] = words
        length += 1
        if plan.streamer is not None:
            plan.streamer.put(xp.shown(words))
        running = running & ~plan.ended(sequences[:, :length], record.scores)
        if not bool(running.any()):
            return Generated(xp.copy(sequences[:, :length]), record)
        # without a token that ends a text, all of them go on, as in the reference
        output = decoder.step(sequences[:, :length], running if plan.ends else None)


def likeliest(scores: Values, running: Values) -> Values:
    """Return the likeliest word of each text, ``[B]``."""
    xp = functions_of(scores)
    best, words = xp.best(scores)  # a NaN is the maximum
    refuse_undecided(scores, running & ~xp.is_finite(best))
    return words


def chances_of(scores: Values, running: Values) -> Values:
    """Return the probability of each word, ``[B, V]``."""
    xp = functions_of(scores)
    chances = xp.softmax(scores)  # of NaN, or where no word is left, all are NaN
    undecided = xp.is_nan(chances[:, 0])
    refuse_undecided(scores, running & undecided)
    return xp.where(undecided[:, None], 1.0, chances)  # texts that have ended


def drawn(chances: Values, generator: Any) -> Values:
    """Return a word drawn for each text, ``[B]``."""
    return functions_of(chances).draw(chances, 1, generator)[:, 0]


def refuse_undecided(scores: Values, undecided: Values) -> None:
    """Refuse scores ``[B, V]`` of which no word can be chosen, where ``undecided`` bool ``[B]`` says so."""
    if not bool(undecided.any()):
        return
    text = undecided.tolist().index(True)
    broken = int(functions_of(scores).is_nan(scores[text]).sum())
    if broken:
        raise BertieError(
            f"The model's scores for text {text} hold {counted(broken, 'NaN')}; look for NaN or infinity among its "
            "weights, or pass remove_invalid_values=True to read them as 0."
        )
    raise BertieError(
        f"No word is left to choose for text {text}: its scores are {float(scores[text].max())}; allow some word in "
        "bad_words_ids, suppress_tokens, prefix_allowed_tokens_fn or the logits processors."
    )
