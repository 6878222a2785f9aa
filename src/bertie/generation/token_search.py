"""One token per step for each text: the most probable (greedy search) or a sampled one."""

from typing import Any

from bertie.errors import BertieError, counted
from bertie.generation.decoder import Decoder, StepOutput
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_plan import GenerationPlan


class TokenSearch:
    """The state of a search: ``num_return_sequences`` texts per prompt of ``[B, S]``, and which are unfinished."""

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
        while self.advance(output):
            # without an end token all texts continue, as in the reference
            output = self.decoder.step(self.ids, self.running if self.plan.ends else None)
        return Generated(self.xp.copy(self.ids), self.record)

    def advance(self, output: StepOutput) -> bool:
        """Append a token to each text from the model's output; return whether any text is unfinished."""
        logits = self.xp.float32(output.logits)
        scores = self.plan.process(self.ids, logits)
        self.record.add(output, logits, scores)
        tokens = self.choose(scores)
        if self.plan.ends:
            tokens = self.xp.where(self.running, tokens, self.plan.pad)
        self.texts[:, self.length] = tokens
        self.length += 1
        if self.plan.streamer is not None:
            self.plan.streamer.put(self.xp.to_host(tokens))
        self.running = self.running & ~self.plan.ended(self.ids, self.record.scores)
        return bool(self.running.any())

    def choose(self, scores: Values) -> Values:
        """Return the next token of each text, ``[B]``."""
        if self.plan.config.do_sample:
            return sample(probabilities_of(scores, self.running), self.plan.generator)
        best, tokens = self.xp.max(scores)  # NaN counts as the largest
        refuse_undecided(scores, self.running & ~self.xp.isfinite(best))
        return tokens


def probabilities_of(scores: Values, running: Values) -> Values:
    """Return the probability of each token, ``[B, V]``."""
    xp = functions_of(scores)
    probabilities = xp.softmax(scores)  # all NaN if a score is NaN or no token is left
    undecided = xp.isnan(probabilities[:, 0])
    refuse_undecided(scores, running & undecided)
    return xp.where(undecided[:, None], 1.0, probabilities)  # only finished texts are left


def sample(probabilities: Values, generator: Any) -> Values:
    """Return a sampled token for each text, ``[B]``."""
    return functions_of(probabilities).draw(probabilities, 1, generator)[:, 0]


def refuse_undecided(scores: Values, undecided: Values) -> None:
    """Raise BertieError if for any text, marked in ``undecided`` bool ``[B]``, ``scores [B, V]`` allow no choice."""
    if not bool(undecided.any()):
        return
    text = undecided.tolist().index(True)
    broken = int(functions_of(scores).isnan(scores[text]).sum())
    if broken:
        raise BertieError(
            f"The model's scores for text {text} hold {counted(broken, 'NaN')}; look for NaN or infinity among its "
            "weights, or pass remove_invalid_values=True to replace them by 0."
        )
    raise BertieError(
        f"No token is left to choose for text {text}: its scores are {float(scores[text].max())}; allow some in "
        "bad_words_ids, suppress_tokens, prefix_allowed_tokens_fn or the logits processors."
    )
