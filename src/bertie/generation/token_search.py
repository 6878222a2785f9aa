"""One word a step for each text: the likeliest (greedy search), or one drawn (sampling)."""

from typing import Any

from bertie.errors import BertieError, counted
from bertie.generation.decoder import Decoder, StepOutput
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_plan import GenerationPlan


class TokenSearch:
    """A search under way: the texts of ``prompts [B, S]``, ``num_return_sequences`` times each, and which go on."""

    def __init__(self, decoder: Decoder, prompts: Values, plan: GenerationPlan) -> None:
        self.decoder, self.plan, self.xp = decoder, plan, functions_of(prompts)
        self.record, self.length = StepRecord(plan.config), prompts.shape[1]
        texts = self.xp.repeat(prompts, plan.config.num_return_sequences)
        self.texts = self.xp.full(prompts, (len(texts), plan.max_length), 0)
        self.texts[:, : self.length] = texts
        self.running = self.texts[:, 0] >= 0  # all of them

    @property
    def ids(self) -> Values:
        """``[B, S]``."""
        return self.texts[:, : self.length]

    def run(self) -> Generated:
        """Search until all texts have ended."""
        repeats = self.plan.config.num_return_sequences
        output = self.decoder.step(self.ids[::repeats]).repeated(repeats)
        self.decoder.repeat(repeats)
        while self.go_on(output):
            # without a token that ends a text, all of them go on, as in the reference
            output = self.decoder.step(self.ids, self.running if self.plan.ends else None)
        return Generated(self.xp.copy(self.ids), self.record)

    def go_on(self, output: StepOutput) -> bool:
        """Take a word more for each text by what the model answered; return whether any text has not ended."""
        logits = self.xp.float32(output.logits)
        scores = self.plan.process(self.ids, logits)
        self.record.add(output, logits, scores)
        words = self.choose(scores)
        if self.plan.ends:
            words = self.xp.where(self.running, words, self.plan.pad)
        self.texts[:, self.length] = words
        self.length += 1
        if self.plan.streamer is not None:
            self.plan.streamer.put(self.xp.shown(words))
        self.running = self.running & ~self.plan.ended(self.ids, self.record.scores)
        return bool(self.running.any())

    def choose(self, scores: Values) -> Values:
        """Return the next word of each text, ``[B]``."""
        if self.plan.config.do_sample:
            return sample(probabilities_of(scores, self.running), self.plan.generator)
        best, words = self.xp.best(scores)  # a NaN is the maximum
        refuse_undecided(scores, self.running & ~self.xp.isfinite(best))
        return words


def probabilities_of(scores: Values, running: Values) -> Values:
    """Return the probability of each word, ``[B, V]``."""
    xp = functions_of(scores)
    probabilities = xp.softmax(scores)  # of NaN, or where no word is left, all are NaN
    undecided = xp.isnan(probabilities[:, 0])
    refuse_undecided(scores, running & undecided)
    return xp.where(undecided[:, None], 1.0, probabilities)  # texts that have ended


def sample(probabilities: Values, generator: Any) -> Values:
    """Return a word drawn for each text, ``[B]``."""
    return functions_of(probabilities).draw(probabilities, 1, generator)[:, 0]


def refuse_undecided(scores: Values, undecided: Values) -> None:
    """Refuse scores ``[B, V]`` of which no word can be chosen, where ``undecided`` bool ``[B]`` says so."""
    if not bool(undecided.any()):
        return
    text = undecided.tolist().index(True)
    broken = int(functions_of(scores).isnan(scores[text]).sum())
    if broken:
        raise BertieError(
            f"The model's scores for text {text} hold {counted(broken, 'NaN')}; look for NaN or infinity among its "
            "weights, or pass remove_invalid_values=True to read them as 0."
        )
    raise BertieError(
        f"No word is left to choose for text {text}: its scores are {float(scores[text].max())}; allow some word in "
        "bad_words_ids, suppress_tokens, prefix_allowed_tokens_fn or the logits processors."
    )
