"""Beam search and beam sampling: K texts a prompt go on side by side, and the best that have ended are kept.

Letters: B prompts, K beams of each, M candidates of each, V words. The rules are the reference's: a beam's score is the
sum of its words' log-probabilities, divided, once it has ended, by its number of new tokens to ``length_penalty``.
Where the beams of a prompt fall into groups, each group is searched as those of a prompt of its own.
"""

from dataclasses import dataclass
from itertools import chain

from bertie.errors import BertieError
from bertie.generation.decoder import Decoder
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import refuse_undecided

# the score of what is not to be chosen while there is anything else
_LAST = -1e9


@dataclass(frozen=True)
class Candidates:
    """The best continuations of a step, ``[B, M]`` each: scores, the beam each goes on from, its word."""

    scores: Values
    beams: Values
    words: Values


@dataclass(frozen=True)
class _Ended:
    """A text that has ended: its score by length, its ids, and the row that each new word came from."""

    score: float
    ids: Values
    beam_indices: Values


class _Texts:
    """Ids of ``[B * K]`` beams, and beside each the beam it came from."""

    def __init__(self, prompts: Values, num_beams: int, max_length: int) -> None:
        rows, self.length = prompts.shape[0] * num_beams, prompts.shape[1]
        self._xp = functions_of(prompts)
        self._now = self._xp.full(prompts, (2, rows, max_length), -1)
        self._now[0, :, : self.length] = self._xp.repeat(prompts, num_beams)

    @property
    def ids(self) -> Values:
        """``[B * K, S]``."""
        return self._now[0, :, : self.length]

    def row(self, number: int, word: int) -> Values:
        """Return a beam with one more word: its ids, and below them the beams they came from, ``[2, S + 1]``."""
        grown = self._xp.copy(self._now[:, number, : self.length + 1])
        grown[0, -1], grown[1, -1] = word, number
        return grown

    def candidates(self, rows: Values, words: Values) -> Values:
        """Return the ids of candidates, of ``[N]`` rows with one more word each, ``[N, S + 1]``."""
        return self._xp.concat([self.ids[rows], words[:, None]])

    def go_on(self, rows: Values, words: Values) -> None:
        """Make each beam the one of its row of ``rows [B * K]``, with one more word."""
        self._now = self._now[:, rows]
        self._now[0, :, self.length], self._now[1, :, self.length] = words, rows
        self.length += 1


class BeamSearch:
    """A search under way: the running beams, their scores, and the best texts that have ended."""

    def __init__(self, decoder: Decoder, prompts: Values, plan: GenerationPlan) -> None:
        config = plan.config
        self.decoder, self.plan, self.xp = decoder, plan, functions_of(prompts)
        self.groups = config.num_beam_groups
        self.num_beams, self.batch = config.num_beams // self.groups, prompts.shape[0] * self.groups
        self.prompt_length = prompts.shape[1]
        self.record = StepRecord(config)
        self.texts = _Texts(prompts, config.num_beams, plan.max_length)
        self.ended: list[list[_Ended]] = [[] for _ in range(self.batch)]
        self.can_improve = [True] * self.batch
        self.first_row = self.xp.ids(prompts, range(self.batch))[:, None] * self.num_beams
        # the reference, too, fills with the end where the padding's id is 0
        self.fill = (config.pad_token_id or plan.ends[0]) if plan.ends else -1

    def run(self) -> Generated:
        """Search until nothing better can come, and return the ``num_return_sequences`` best of each prompt."""
        all_beams = self.plan.config.num_beams
        output = self.decoder.step(self.texts.ids[::all_beams]).repeated(all_beams)
        self.decoder.repeat(all_beams)
        self.scores = self.xp.full(self.xp.float32(output.logits), (self.batch, self.num_beams), 0.0)
        self.scores[:, 1:] = _LAST  # the beams of a prompt are alike before the first word
        while True:
            logits = self.xp.float32(output.logits)
            scores = self._processed(self.xp.log_softmax(logits))
            self.record.add(output, logits, scores)
            refuse_undecided(scores, self._of_rows(self.can_improve) & self.xp.isnan(scores.sum(axis=-1)))
            candidates = self._continuations(scores, self.scores)
            stops = self._stops(candidates)
            self._keep_ended(candidates, stops)
            self._go_on(candidates, stops)
            # from which running beams may become better than what has ended; of groups as in the reference's version 4
            outlook = (self.scores if self.groups == 1 else candidates.scores)[:, 0]
            if self._is_over(stops, outlook):
                return self._best()
            output = self.decoder.step(self.texts.ids, self._running())

    def _processed(self, logs: Values) -> Values:
        """Return log-probabilities ``[B * K, V]`` after all processors."""
        return self.plan.process(self.texts.ids, logs)

    def _continuations(self, scores: Values, before: Values) -> Candidates:
        """Return the best, or drawn, words after beams with scores ``before [B, K]``: enough that K of them go on."""
        words = scores.shape[-1]
        sums = (scores.reshape(len(before), -1, words) + before[:, :, None]).reshape(len(before), -1)
        count = max(2, 1 + len(self.plan.ends)) * self.num_beams
        if self.plan.config.do_sample:
            chosen = self.xp.draw(self.xp.softmax(sums), count, self.plan.generator)
            found = self.xp.take(sums, chosen)
        else:
            found, chosen = self.xp.topk(sums, min(count, sums.shape[1]))
        return Candidates(found, chosen // words, chosen % words)

    def _stops(self, candidates: Candidates) -> Values:
        """Return which of the candidates end, bool ``[B, M]``."""
        words = candidates.words
        if not self.plan.criteria:
            return self.plan.ended(words.reshape(-1, 1), None, self.texts.length + 1).reshape(words.shape)
        rows = (candidates.beams + self.first_row).flatten()
        ids = self.texts.candidates(rows, words.flatten())
        return self.plan.ended(ids, self.record.scores, ids.shape[1]).reshape(words.shape)

    def _keep_ended(self, candidates: Candidates, stops: Values) -> None:
        """Keep those of the K best candidates that end, if they are among the K best that have ended."""
        length = self.texts.length + 1 - self.prompt_length
        finals = (candidates.scores / length**self.plan.config.length_penalty).tolist()
        beams, words, ending = candidates.beams.tolist(), candidates.words.tolist(), stops.tolist()
        for text in range(self.batch):
            if not self._is_open(text):
                continue
            for place in range(self.num_beams):
                if ending[text][place]:
                    self._keep(text, finals[text][place], beams[text][place], words[text][place])

    def _keep(self, text: int, score: float, beam: int, word: int) -> None:
        kept = self.ended[text]
        if len(kept) == self.num_beams and score <= kept[-1].score:
            return
        ids, beam_indices = self.texts.row(text * self.num_beams + beam, word)
        kept.append(_Ended(score, ids, beam_indices[self.prompt_length :]))
        kept.sort(key=lambda each: -each.score)
        del kept[self.num_beams :]

    def _is_full(self, text: int) -> bool:
        return self.plan.config.early_stopping is True and len(self.ended[text]) == self.num_beams

    def _go_on(self, candidates: Candidates, stops: Values) -> None:
        """Take the K best candidates that do not end as the beams of the next step."""
        self.scores, chosen = self._going_on(candidates, stops)
        rows = (self.xp.take(candidates.beams, chosen) + self.first_row).flatten()
        self.texts.go_on(rows, self.xp.take(candidates.words, chosen).flatten())
        self.decoder.reorder(rows)

    def _going_on(self, candidates: Candidates, stops: Values) -> tuple[Values, Values]:
        """Return the scores of the K best candidates that do not end, and which they are, ``[B, K]`` each."""
        # of float32, which a number of Python's does not widen
        last = self.xp.where(stops, candidates.scores + _LAST, candidates.scores)
        return self.xp.topk(last, self.num_beams)

    def _is_over(self, stops: Values, outlook: Values) -> bool:
        """Whether no running beam can become better than what has ended, or none can go on."""
        config = self.plan.config
        new_tokens = self.texts.length - self.prompt_length
        if config.early_stopping == "never" and config.length_penalty > 0:
            new_tokens = self.plan.max_length - self.prompt_length
        best = (outlook / new_tokens**config.length_penalty).tolist()
        for text, kept in enumerate(self.ended):
            if len(kept) == self.num_beams and best[text] <= kept[-1].score:
                self.can_improve[text] = False
        is_full = all(map(self._is_full, range(self.batch)))
        return not any(self.can_improve) or is_full or bool(stops.all())

    def _running(self) -> Values | None:
        """Return which rows are still computed: those of prompts whose answer is not settled."""
        open_texts = list(map(self._is_open, range(self.batch)))
        return None if all(open_texts) else self._of_rows(open_texts)

    def _is_open(self, text: int) -> bool:
        return self.can_improve[text] and not self._is_full(text)

    def _of_rows(self, of_texts: list[bool]) -> Values:
        return self.xp.repeat(self.xp.bools(self.scores, of_texts), self.num_beams)

    def _best(self) -> Generated:
        count = self.plan.config.num_return_sequences
        best: list[_Ended] = []
        for text in range(0, self.batch, self.groups):
            of_prompt = chain(*self.ended[text : text + self.groups])
            best += sorted(of_prompt, key=lambda each: -each.score)[:count]
        if len(best) * self.groups < self.batch * count:
            raise BertieError(
                "Fewer beams have ended than texts are to be returned: the logits processors leave too few words."
            )
        scores = self.xp.full(self.scores, (len(best),), 0.0)
        for row, each in enumerate(best):
            scores[row] = each.score
        return Generated(
            self._stacked([each.ids for each in best], self.fill),
            self.record,
            scores if self.plan.config.output_scores else None,
            self._stacked([each.beam_indices for each in best], -1),
        )

    def _stacked(self, rows: list[Values], fill: int) -> Values:
        """Return texts of unequal lengths as rows with ``fill`` behind them."""
        stacked = self.xp.full(rows[0], (len(rows), max(map(len, rows))), fill)
        for row, values in zip(stacked, rows, strict=True):
            row[: len(values)] = values
        return stacked


class DiverseBeamSearch(BeamSearch):
    """Groups of beams choose one after the other, and shun the words that groups before them chose.

    B prompts, each with G groups of K beams, stand side by side as B * G texts (arXiv 1610.02424, algorithm 1, with the
    Hamming diversity of its section 5). The rules for ends are those of version 4 of the reference, which had it last.
    """

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
