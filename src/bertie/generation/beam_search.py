"""Beam search and beam sampling: K beams per prompt grow side by side, and the best finished ones are kept.

Letters: B prompts, K beams of each, M candidates of each, V vocabulary. The rules are the reference's: a beam's score
is the sum of its tokens' log-probabilities, divided, once finished, by (number of new tokens) ** ``length_penalty``. If
the beams of a prompt are divided into groups, each group is searched like a prompt of its own.
"""

from dataclasses import dataclass
from itertools import chain

from bertie.errors import BertieError
from bertie.generation.decoder import Decoder
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import refuse_undecided

# the score of what is chosen only if nothing else is left
_EXCLUDED = -1e9


@dataclass(frozen=True)
class Candidates:
    """The best continuations of a step, ``[B, M]`` each: score, the beam it extends, and its token."""

    scores: Values
    beams: Values
    tokens: Values


@dataclass(frozen=True)
class _Hypothesis:
    """A finished beam: its length-normalised score, its ids, and the row that each new token came from."""

    score: float
    ids: Values
    beam_indices: Values


class _Beams:
    """The ids of ``[B * K]`` beams, and for each id the row of the beam it was appended to."""

    def __init__(self, prompts: Values, num_beams: int, max_length: int) -> None:
        rows, self.length = prompts.shape[0] * num_beams, prompts.shape[1]
        self._xp = functions_of(prompts)
        self._state = self._xp.full(prompts, (2, rows, max_length), -1)
        self._state[0, :, : self.length] = self._xp.repeat(prompts, num_beams)

    @property
    def ids(self) -> Values:
        """``[B * K, S]``."""
        return self._state[0, :, : self.length]

    def row(self, number: int, token: int) -> Values:
        """Return a beam's ids with one more token, and below them the rows they came from, ``[2, S + 1]``."""
        extended = self._xp.copy(self._state[:, number, : self.length + 1])
        extended[0, -1], extended[1, -1] = token, number
        return extended

    def candidates(self, rows: Values, tokens: Values) -> Values:
        """Return the ids ``[N, S + 1]`` of the beams in ``rows [N]`` with one more token each."""
        return self._xp.concat([self.ids[rows], tokens[:, None]])

    def advance(self, rows: Values, tokens: Values) -> None:
        """Replace beam ``i`` by beam ``rows[i]`` with one more token."""
        self._state = self._state[:, rows]
        self._state[0, :, self.length], self._state[1, :, self.length] = tokens, rows
        self.length += 1


class BeamSearch:
    """The state of a search: the running beams, their scores, and the best finished ones."""

    def __init__(self, decoder: Decoder, prompts: Values, plan: GenerationPlan) -> None:
        config = plan.config
        self.decoder, self.plan, self.xp = decoder, plan, functions_of(prompts)
        self.groups = config.num_beam_groups
        self.num_beams, self.batch = config.num_beams // self.groups, prompts.shape[0] * self.groups
        self.prompt_length = prompts.shape[1]
        self.record = StepRecord(config)
        self.texts = _Beams(prompts, config.num_beams, plan.max_length)
        self.finished: list[list[_Hypothesis]] = [[] for _ in range(self.batch)]
        self.can_improve = [True] * self.batch
        self.first_row = self.xp.ids(prompts, range(self.batch))[:, None] * self.num_beams
        # as in the reference, pad_token_id 0 is replaced by the end token
        self.fill = (config.pad_token_id or plan.ends[0]) if plan.ends else -1

    def run(self) -> Generated:
        """Search until no better beam is possible, and return the ``num_return_sequences`` best of each prompt."""
        all_beams = self.plan.config.num_beams
        output = self.decoder.step(self.texts.ids[::all_beams]).repeated(all_beams)
        self.decoder.repeat(all_beams)
        self.scores = self.xp.full(self.xp.float32(output.logits), (self.batch, self.num_beams), 0.0)
        self.scores[:, 1:] = _EXCLUDED  # the beams of a prompt are equal before the first token
        while True:
            logits = self.xp.float32(output.logits)
            scores = self._processed(self.xp.log_softmax(logits))
            self.record.add(output, logits, scores)
            refuse_undecided(scores, self._of_rows(self.can_improve) & self.xp.isnan(scores.sum(axis=-1)))
            candidates = self._continuations(scores, self.scores)
            stops = self._stops(candidates)
            self._keep_finished(candidates, stops)
            self._advance(candidates, stops)
            # the best score that can still improve; for groups as in version 4 of the reference
            best_running = (self.scores if self.groups == 1 else candidates.scores)[:, 0]
            if self._is_over(stops, best_running):
                return self._best()
            output = self.decoder.step(self.texts.ids, self._running())

    def _processed(self, logs: Values) -> Values:
        """Return log-probabilities ``[B * K, V]`` after all processors."""
        return self.plan.process(self.texts.ids, logs)

    def _continuations(self, scores: Values, before: Values) -> Candidates:
        """Return the best or sampled continuations of beams with scores ``before [B, K]``, at least K unfinished."""
        vocab_size = scores.shape[-1]
        sums = (scores.reshape(len(before), -1, vocab_size) + before[:, :, None]).reshape(len(before), -1)
        count = max(2, 1 + len(self.plan.ends)) * self.num_beams
        if self.plan.config.do_sample:
            chosen = self.xp.draw(self.xp.softmax(sums), count, self.plan.generator)
            found = self.xp.take(sums, chosen)
        else:
            found, chosen = self.xp.topk(sums, min(count, sums.shape[1]))
        return Candidates(found, chosen // vocab_size, chosen % vocab_size)

    def _stops(self, candidates: Candidates) -> Values:
        """Return which candidates are finished, bool ``[B, M]``."""
        tokens = candidates.tokens
        if not self.plan.criteria:
            return self.plan.ended(tokens.reshape(-1, 1), None, self.texts.length + 1).reshape(tokens.shape)
        rows = (candidates.beams + self.first_row).flatten()
        ids = self.texts.candidates(rows, tokens.flatten())
        return self.plan.ended(ids, self.record.scores, ids.shape[1]).reshape(tokens.shape)

    def _keep_finished(self, candidates: Candidates, stops: Values) -> None:
        """Keep the finished ones among the K best candidates if they are among the K best finished beams."""
        length = self.texts.length + 1 - self.prompt_length
        finals = (candidates.scores / length**self.plan.config.length_penalty).tolist()
        beams, tokens, ending = candidates.beams.tolist(), candidates.tokens.tolist(), stops.tolist()
        for text in range(self.batch):
            if not self._is_open(text):
                continue
            for place in range(self.num_beams):
                if ending[text][place]:
                    self._keep(text, finals[text][place], beams[text][place], tokens[text][place])

    def _keep(self, text: int, score: float, beam: int, token: int) -> None:
        kept = self.finished[text]
        if len(kept) == self.num_beams and score <= kept[-1].score:
            return
        ids, beam_indices = self.texts.row(text * self.num_beams + beam, token)
        kept.append(_Hypothesis(score, ids, beam_indices[self.prompt_length :]))
        kept.sort(key=lambda each: -each.score)
        del kept[self.num_beams :]

    def _is_full(self, text: int) -> bool:
        return self.plan.config.early_stopping is True and len(self.finished[text]) == self.num_beams

    def _advance(self, candidates: Candidates, stops: Values) -> None:
        """Make the K best unfinished candidates the beams of the next step."""
        self.scores, chosen = self._continuing(candidates, stops)
        rows = (self.xp.take(candidates.beams, chosen) + self.first_row).flatten()
        self.texts.advance(rows, self.xp.take(candidates.tokens, chosen).flatten())
        self.decoder.reorder(rows)

    def _continuing(self, candidates: Candidates, stops: Values) -> tuple[Values, Values]:
        """Return the scores and indices of the K best unfinished candidates, ``[B, K]`` each."""
        # stays float32, which a Python number does not widen
        scores = self.xp.where(stops, candidates.scores + _EXCLUDED, candidates.scores)
        return self.xp.topk(scores, self.num_beams)

    def _is_over(self, stops: Values, best_running: Values) -> bool:
        """Whether no running beam can become better than the finished ones, or none can continue."""
        config = self.plan.config
        new_tokens = self.texts.length - self.prompt_length
        if config.early_stopping == "never" and config.length_penalty > 0:
            new_tokens = self.plan.max_length - self.prompt_length
        best = (best_running / new_tokens**config.length_penalty).tolist()
        for text, kept in enumerate(self.finished):
            if len(kept) == self.num_beams and best[text] <= kept[-1].score:
                self.can_improve[text] = False
        is_full = all(map(self._is_full, range(self.batch)))
        return not any(self.can_improve) or is_full or bool(stops.all())

    def _running(self) -> Values | None:
        """Return which rows are still searched, or None for all."""
        open_texts = list(map(self._is_open, range(self.batch)))
        return None if all(open_texts) else self._of_rows(open_texts)

    def _is_open(self, text: int) -> bool:
        return self.can_improve[text] and not self._is_full(text)

    def _of_rows(self, of_texts: list[bool]) -> Values:
        return self.xp.repeat(self.xp.as_bools(self.scores, of_texts), self.num_beams)

    def _best(self) -> Generated:
        count = self.plan.config.num_return_sequences
        best: list[_Hypothesis] = []
        for text in range(0, self.batch, self.groups):
            of_prompt = chain(*self.finished[text : text + self.groups])
            best += sorted(of_prompt, key=lambda each: -each.score)[:count]
        if len(best) * self.groups < self.batch * count:
            raise BertieError(
                "Fewer beams have finished than num_return_sequences asks for: the logits processors allow too few."
            )
        scores = self.xp.full(self.scores, (len(best),), 0.0)
        for row, each in enumerate(best):
            scores[row] = each.score
        return Generated(
            self._padded([each.ids for each in best], self.fill),
            self.record,
            scores if self.plan.config.output_scores else None,
            self._padded([each.beam_indices for each in best], -1),
        )

    def _padded(self, rows: list[Values], fill: int) -> Values:
        """Return rows of unequal length as one array, padded with ``fill``."""
        stacked = self.xp.full(rows[0], (len(rows), max(map(len, rows))), fill)
        for row, values in zip(stacked, rows, strict=True):
            row[: len(values)] = values
        return stacked


class DiverseBeamSearch(BeamSearch):
    """Groups of beams choose one after the other, penalising the tokens that earlier groups chose.

    B prompts, each with G groups of K beams, are searched as B * G texts (arXiv 1610.02424, algorithm 1, with the
    Hamming diversity of its section 5). The stopping rules are those of version 4, the last of the reference with it.
    """

    def __init__(self, decoder: Decoder, prompts: Values, plan: GenerationPlan) -> None:
        super().__init__(decoder, prompts, plan)
        self.prompts = self.xp.ids(prompts, range(prompts.shape[0]))
        self.fill = plan.pad if plan.ends else -1

    def _processed(self, logs: Values) -> Values:
        xp, scores, penalty = self.xp, self.xp.copy(logs), self.plan.config.diversity_penalty
        rows = xp.ids(logs, range(len(logs))).reshape(-1, self.groups, self.num_beams)
        # how often earlier groups chose each token
        counts = xp.full(logs, (len(self.prompts), logs.shape[1]), 0.0)
        for group in range(self.groups):
            own = rows[:, group].flatten()
            penalized = logs[own] - penalty * xp.repeat(counts, self.num_beams)
            scores[own] = self.plan.process(self.texts.ids[own], penalized)
            tokens = self._next_tokens(group, scores[own])
            for beam in range(self.num_beams):
                counts[self.prompts, tokens[:, beam]] += 1
        return scores

    def _next_tokens(self, group: int, scores: Values) -> Values:
        """Return the next tokens of a group, ``[B, K]``; padding if its search is over, as in the reference."""
        candidates = self._continuations(scores, self.scores[group :: self.groups])
        stops = self.xp.is_in(candidates.tokens.flatten(), self.plan.ends).reshape(candidates.tokens.shape)
        tokens = self.xp.take(candidates.tokens, self._continuing(candidates, stops)[1])
        for prompt, text in enumerate(range(group, self.batch, self.groups)):
            if not self._is_open(text):
                tokens[prompt] = self.plan.pad
        return tokens
