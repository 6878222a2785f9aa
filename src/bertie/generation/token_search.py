"""One word a step for each text: the likeliest (greedy search), or one drawn (sampling)."""

import torch
from torch import Tensor

from bertie.errors import BertieError, counted
from bertie.generation.decoder import Decoder
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_plan import GenerationPlan


def search_tokens(decoder: Decoder, prompts: Tensor, plan: GenerationPlan) -> Generated:
    """Go on with the texts of ``prompts [B, S]``, ``num_return_sequences`` times each, until all have ended.

    Raises:
        BertieError: a text's scores are NaN, or leave no word to choose.
    """
    repeats = plan.config.num_return_sequences
    record, output = StepRecord(plan.config), decoder.step(prompts).repeated(repeats)
    decoder.repeat(repeats)
    count, length = output.logits.shape[0], prompts.shape[1]
    sequences = prompts.new_zeros(count, plan.max_length)
    sequences[:, :length] = prompts.repeat_interleave(repeats, dim=0)
    running = torch.ones(count, dtype=torch.bool, device=prompts.device)
    while True:
        logits = output.logits.float()
        scores = plan.process(sequences[:, :length], logits)
        record.add(output, logits, scores)
        is_drawn = plan.config.do_sample
        words = drawn(chances_of(scores, running), plan.generator) if is_drawn else likeliest(scores, running)
        if plan.ends:
            words = torch.where(running, words, plan.pad)
        sequences[:, length] = words
        length += 1
        if plan.streamer is not None:
            plan.streamer.put(words.cpu())
        running = running & ~plan.ended(sequences[:, :length], record.scores)
        if not bool(running.any()):
            return Generated(sequences[:, :length].contiguous(), record)
        # without a token that ends a text, all of them go on, as in the reference
        output = decoder.step(sequences[:, :length], running if plan.ends else None)


def likeliest(scores: Tensor, running: Tensor) -> Tensor:
    """Return the likeliest word of each text, ``[B]``."""
    best, words = scores.max(dim=-1)  # a NaN is the maximum
    refuse_undecided(scores, running & ~best.isfinite())
    return words


def chances_of(scores: Tensor, running: Tensor) -> Tensor:
    """Return the probability of each word, ``[B, V]``."""
    chances = scores.softmax(dim=-1)  # of NaN, or where no word is left, all are NaN
    undecided = chances[:, 0].isnan()
    refuse_undecided(scores, running & undecided)
    return chances.masked_fill(undecided[:, None], 1.0)  # texts that have ended


def drawn(chances: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return a word drawn for each text, ``[B]``."""
    return torch.multinomial(chances, 1, generator=generator).squeeze(1)


def refuse_undecided(scores: Tensor, undecided: Tensor) -> None:
    """Refuse scores ``[B, V]`` of which no word can be chosen, where ``undecided`` bool ``[B]`` says so."""
    if not bool(undecided.any()):
        return
    text = int(undecided.nonzero()[0])
    broken = int(scores[text].isnan().sum())
    if broken:
        raise BertieError(
            f"The model's scores for text {text} hold {counted(broken, 'NaN')}; look for NaN or infinity among its "
            "weights, or pass remove_invalid_values=True to read them as 0."
        )
    raise BertieError(
        f"No word is left to choose for text {text}: its scores are {scores[text].max().item()}; allow some word in "
        "bad_words_ids, suppress_tokens, prefix_allowed_tokens_fn or the logits processors."
    )
