"""Beam search and beam sampling: K texts a prompt go on side by side, and the best that have ended are kept.

Letters: B prompts, K beams of each, M candidates of each, V words. The rules are the reference's: a beam's score is the
sum of its words' log-probabilities, divided, once it has ended, by its number of new tokens to ``length_penalty``.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertie.errors import BertieError
from bertie.generation.decoder import Decoder
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import refuse_undecided

# the score of what is not to be chosen while there is anything else
_LAST = -1e9


@dataclass(frozen=True)
class Candidates:
    """The best continuations of a step, ``[B, M]`` each: scores, the beam each goes on from, its word."""

    scores: Tensor
    beams: Tensor
    words: Tensor


@dataclass(frozen=True)
class _Ended:
    """A text that has ended: its score by length, its ids, and the row that each new word came from."""

    score: float
    ids: Tensor
    beam_indices: Tensor


class _Texts:
    """Ids of ``[B * K]`` beams, and beside each the beam it came from, in storage that changes places with its copy."""

    def __init__(self, prompts: Tensor, num_beams: int, max_length: int) -> None:
        rows, self.length = prompts.shape[0] * num_beams, prompts.shape[1]
        self._now = prompts.new_full((2, rows, max_length), -1)
        self._now[0, :, : self.length] = prompts.repeat_interleave(num_beams, dim=0)
        self._spare = torch.empty_like(self._now)

    @property
    def ids(self) -> Tensor:
        """``[B * K, S]``."""
        return self._now[0, :, : self.length]

    def row(self, number: int, word: int) -> Tensor:
        """Return a beam with one more word: its ids, and below them the beams they came from, ``[2, S + 1]``."""
        grown = self._now[:, number, : self.length + 1].clone()
        grown[0, -1], grown[1, -1] = word, number
        return grown

    def candidates(self, rows: Tensor, words: Tensor) -> Tensor:
        """Return the ids of candidates, of ``[N]`` rows with one more word each, ``[N, S + 1]``."""
        return torch.cat([self.ids.index_select(0, rows), words[:, None]], dim=1)

    def go_on(self, rows: Tensor, words: Tensor) -> None:
        """Make each beam the one of its row of ``rows [B * K]``, with one more word."""
        torch.index_select(self._now, 1, rows, out=self._spare)
        self._now, self._spare = self._spare, self._now
        self._now[0, :, self.length], self._now[1, :, self.length] = words, rows
        self.length += 1


class BeamSearch:
    """A search under way: the running beams, their scores, and the best texts that have ended."""

    def __init__(self, decoder: Decoder, prompts: Tensor, plan: GenerationPlan) -> None:
        config = plan.config
        self.decoder, self.plan, self.num_beams = decoder, plan, config.num_beams
        self.prompt_length, self.batch = prompts.shape[1], prompts.shape[0]
        self.record = StepRecord(config)
        self.texts = _Texts(prompts, self.num_beams, plan.max_length)
        self.scores = torch.zeros(self.batch, self.num_beams, device=prompts.device)
        self.scores[:, 1:] = _LAST  # the beams of a prompt are alike before the first word
        self.ended: list[list[_Ended]] = [[] for _ in range(self.batch)]
        self.can_improve = [True] * self.batch
        self.first_row = torch.arange(self.batch, device=prompts.device)[:, None] * self.num_beams

    def run(self, prompts: Tensor) -> Generated:
        """Search until nothing better can come, and return the best."""
        output = self.decoder.step(prompts).repeated(self.num_beams)
        self.decoder.repeat(self.num_beams)
        while True:
            logits = output.logits.float()
            scores = self.plan.process(self.texts.ids, logits.log_softmax(dim=-1))
            self.record.add(output, logits, scores)
            candidates = self._candidates(scores)
            stops = self._stops(candidates)
            self._keep_ended(candidates, stops)
            self._go_on(candidates, stops)
            if self._is_over(stops):
                return self._best()
            output = self.decoder.step(self.texts.ids, self._running())

    def _candidates(self, scores: Tensor) -> Candidates:
        """Return the best, or drawn, continuations of all beams of a prompt: enough that K of them do not end."""
        refuse_undecided(scores, self._of_rows(self.can_improve) & scores.sum(dim=-1).isnan())
        words = scores.shape[-1]
        sums = (scores.view(self.batch, -1, words) + self.scores[:, :, None]).view(self.batch, -1)
        count = max(2, 1 + len(self.plan.ends)) * self.num_beams
        if self.plan.config.do_sample:
            chosen = torch.multinomial(sums.softmax(dim=-1), count, generator=self.plan.generator)
            found = sums.gather(1, chosen)
        else:
            found, chosen = sums.topk(min(count, sums.shape[1]))
        return Candidates(found, chosen // words, chosen % words)

    def _stops(self, candidates: Candidates) -> Tensor:
        """Return which of the candidates end, bool ``[B, M]``."""
        words = candidates.words
        if not self.plan.criteria:
            return self.plan.ended(words.view(-1, 1), None, self.texts.length + 1).view(words.shape)
        rows = (candidates.beams + self.first_row).flatten()
        ids = self.texts.candidates(rows, words.flatten())
        return self.plan.ended(ids, self.record.scores, ids.shape[1]).view(words.shape)

    def _keep_ended(self, candidates: Candidates, stops: Tensor) -> None:
        """Keep those of the K best candidates that end, if they are among the K best that have ended."""
        length = self.texts.length + 1 - self.prompt_length
        finals = (candidates.scores / length**self.plan.config.length_penalty).tolist()
        beams, words, ending = candidates.beams.tolist(), candidates.words.tolist(), stops.tolist()
        for text in range(self.batch):
            if not self.can_improve[text] or self._is_full(text):
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

    def _go_on(self, candidates: Candidates, stops: Tensor) -> None:
        """Take the K best candidates that do not end as the beams of the next step."""
        scores, chosen = (candidates.scores + stops * _LAST).topk(self.num_beams)
        rows = (candidates.beams.gather(1, chosen) + self.first_row).flatten()
        self.scores = scores
        self.texts.go_on(rows, candidates.words.gather(1, chosen).flatten())
        self.decoder.reorder(rows)

    def _is_over(self, stops: Tensor) -> bool:
        """Whether no running beam can become better than what has ended, or none can go on."""
        config = self.plan.config
        new_tokens = self.texts.length - self.prompt_length
        if config.early_stopping == "never" and config.length_penalty > 0:
            new_tokens = self.plan.max_length - self.prompt_length
        best = (self.scores[:, 0] / new_tokens**config.length_penalty).tolist()
        for text, kept in enumerate(self.ended):
            if len(kept) == self.num_beams and best[text] <= kept[-1].score:
                self.can_improve[text] = False
        is_full = all(map(self._is_full, range(self.batch)))
        return not any(self.can_improve) or is_full or bool(stops.all())

    def _running(self) -> Tensor | None:
        """Return which rows are still computed: those of prompts whose answer is not settled."""
        open_texts = [self.can_improve[text] and not self._is_full(text) for text in range(self.batch)]
        return None if all(open_texts) else self._of_rows(open_texts)

    def _of_rows(self, of_texts: list[bool]) -> Tensor:
        return torch.tensor(of_texts, device=self.scores.device).repeat_interleave(self.num_beams)

    def _best(self) -> Generated:
        best = [each for kept in self.ended for each in kept[: self.plan.config.num_return_sequences]]
        if len(best) < self.batch * self.plan.config.num_return_sequences:
            raise BertieError(
                "Fewer beams have ended than texts are to be returned: the logits processors leave too few words."
            )
        # the reference, too, fills with the end where the padding's id is 0
        ends = self.plan.ends
        fill = (self.plan.config.pad_token_id or ends[0]) if ends else -1
        config = self.plan.config
        return Generated(
            _stacked([each.ids for each in best], fill),
            self.record,
            torch.tensor([each.score for each in best], device=self.scores.device) if config.output_scores else None,
            _stacked([each.beam_indices for each in best], -1),
        )


def search_beams(decoder: Decoder, prompts: Tensor, plan: GenerationPlan) -> Generated:
    """Go on with the texts of ``prompts [B, S]`` in ``num_beams`` ways each; return ``num_return_sequences`` of each.

    Raises:
        BertieError: a text's scores are NaN, or leave too few words to choose.
    """
    return BeamSearch(decoder, prompts, plan).run(prompts)


def _stacked(rows: list[Tensor], fill: int) -> Tensor:
    padded: Any = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)
    return padded
