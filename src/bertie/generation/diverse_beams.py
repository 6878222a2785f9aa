"""Diverse beam search: groups of beams choose one after the other, and shun the words that groups before them chose.

arXiv 1610.02424, algorithm 1, with the Hamming diversity of its section 5. The rules for ends are those of version 4 of
the reference, which was the last to have this search.
"""

from bertie.generation.beam_search import BeamSearch
from bertie.generation.decoder import Decoder
from bertie.generation.functions import Values
from bertie.generation.generation_plan import GenerationPlan


class DiverseBeamSearch(BeamSearch):
    """A search under way: B prompts, each with G groups of K beams, which stand side by side as B * G texts."""

    def __init__(self, decoder: Decoder, prompts: Values, plan: GenerationPlan) -> None:
        super().__init__(decoder, prompts, plan)
        self.prompts = self.xp.ids(prompts, range(prompts.shape[0]))
        self.fill = plan.pad if plan.ends else -1

    def _processed(self, logs: Values) -> Values:
        xp, scores, penalty = self.xp, self.xp.copy(logs), self.plan.config.diversity_penalty
        rows = xp.ids(logs, range(len(logs))).reshape(-1, self.groups, self.num_beams)
        times = xp.full(logs, (len(self.prompts), logs.shape[1]), 0.0)  # that groups before chose each word
        for group in range(self.groups):
            own = rows[:, group].flatten()
            shunned = logs[own] - penalty * xp.repeat(times, self.num_beams)
            scores[own] = self.plan.process(self.texts.ids[own], shunned)
            words = self._next_words(group, scores[own])
            for beam in range(self.num_beams):
                times[self.prompts, words[:, beam]] += 1
        return scores

    def _next_words(self, group: int, scores: Values) -> Values:
        """Return the words that a group goes on with, ``[B, K]``; of one that has ended padding, as the reference."""
        candidates = self._continuations(scores, self.scores[group :: self.groups])
        stops = self.xp.is_in(candidates.words.flatten(), self.plan.ends).reshape(candidates.words.shape)
        words = self.xp.take(candidates.words, self._going_on(candidates, stops)[1])
        for prompt, text in enumerate(range(group, self.batch, self.groups)):
            if not self._is_open(text):
                words[prompt] = self.plan.pad
        return words
