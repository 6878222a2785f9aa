"""Question answering: the span of a context that answers a question, or none (BERT, sections 4.2 and 4.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, InputTypeError
from bertie.metrics import Metric, QuestionAnsweringMetric
from bertie.metrics.question_answering import best_match
from bertie.tasks import spans
from bertie.tasks.alignment import Group
from bertie.tasks.calibration import find_no_answer_threshold
from bertie.tasks.features import Features, Outputs
from bertie.tasks.operations import Loss
from bertie.tasks.task import TrainableTask, WrongAnswer
from bertie.tasks.text_encoder import check_count, two_parts
from bertie.tasks.windows import first_piece, in_windows, owned_pieces
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.pieces import Pieces

DEFAULT_MAX_LENGTH = 384
"""Tokens in a window by default, as in BERT's training on SQuAD."""
DEFAULT_OVERLAP = 128
"""The most tokens that neighbouring windows share by default."""
# the reference's names
_ALIASES = {"max_seq_len": "max_length", "doc_stride": "overlap", "topk": "top_k"}


@dataclass(frozen=True, kw_only=True)
class QuestionAnswering(TrainableTask):
    """An answer is ``{"score", "start", "end", "answer"}``, with ``answer == context[start:end]``, or a list of them.

    An input is a pair (question, context), or a mapping with ``question`` and ``context``. The score is the
    probability of the start times that of the end; answers with the same text, ignoring case, are merged and their
    scores summed, as in transformers 4. All windows of a context share one softmax, so that their answers are
    comparable. A window has ``max_length`` tokens, also called ``max_seq_len`` (None: 384, or what tokenizer and model
    allow), and shares ``overlap`` tokens, also called ``doc_stride``, with its neighbour (None: 128, or a third of a
    shorter window).
    """

    windows: bool = True  # False cuts a long context instead of reading it in windows
    top_k: int = 1  # answers to return: 1 gives a single answer, else a list, best first
    handle_impossible_answer: bool = False  # True lets "no answer" compete: an empty ``answer`` from 0 to 0
    no_answer_threshold: float = 0.0  # how much better than the best answer, in logits, "no answer" must be to win
    max_answer_len: int = 15  # the most tokens of an answer
    max_question_len: int = 64  # the most tokens read of a question
    align_to_words: bool = True  # True extends answers to whole words
    works_on_tokens: ClassVar[bool] = True
    aliases: ClassVar[tuple[str, ...]] = (*TrainableTask.aliases, *_ALIASES)
    saved: ClassVar[tuple[str, ...]] = (
        *TrainableTask.saved,
        *("handle_impossible_answer", "no_answer_threshold", "max_answer_len", "max_question_len"),
    )
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("question", "context"),)
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": QuestionAnsweringMetric}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("top_k", "max_answer_len", "max_question_len"):
            check_count(name, getattr(self, name))

    @classmethod
    def resolve_aliases(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        found = super().resolve_aliases(options)
        for alias, name in _ALIASES.items():
            if (value := found.pop(alias, None)) is not None:
                found.setdefault(name, value)
        return found

    @property
    def limit(self) -> int:
        return super().limit if self.max_length is not None else min(super().limit, DEFAULT_MAX_LENGTH)

    # questions → features

    def read(self, given: object, number: int = 0) -> tuple[str, str]:
        wanted = "a pair (question, context) or a mapping with 'question' and 'context'"
        question, context = two_parts(given, number, "question", "context", wanted)
        for name, text in (("question", question), ("context", context)):
            if not isinstance(text, str):
                raise InputTypeError(f"The {name} of input {number} is {text!r:.60}; it must be a str.")
            if not text:
                raise InputError(f"The {name} of input {number} is empty; give a text.")
        return question, context

    def features_of(self, texts: Sequence[Any]) -> Features:
        return self.in_windows(texts)

    def windows_of(self, row: Encoding) -> list[Encoding]:
        question, context = row.windows
        short = replace(row, windows=(question.cut(0, min(len(question.ids), self.max_question_len)), context))
        overlap = min(DEFAULT_OVERLAP, self.limit // 3) if self.overlap is None else self.overlap
        group = in_windows(short, self.limit, overlap)
        if len(group) > 1 and not self.windows and self.truncation is False:
            raise InputError(f"A question and its context have {len(row)} tokens, but only {self.limit} are read.")
        return group if self.windows else group[:1]

    # features → answers

    def combine(self, rows: Sequence[Any], features: Features) -> list[list[spans.WindowScores]]:
        """Return the scores of each context's windows, from the logits ``[n, 2]`` of their rows."""
        found = []
        for group in features.groups():
            windows = []
            for row, encoding, own in zip(group.rows, group.encodings, owned_pieces(group.encodings), strict=True):
                logits, place, window = rows[row], first_piece(encoding), encoding.windows[-1]
                start, end = logits[place : place + len(window.ids)].T
                windows.append(spans.WindowScores(window.start, start, end, own, tuple(logits[0].tolist())))
            found.append(windows)
        return found

    def decode(self, outputs: Outputs) -> list[Any]:
        found = []
        for group, windows in zip(outputs.features.groups(), outputs.values, strict=True):
            answers = self._answers(group, windows)
            found.append(answers[0] if self.top_k == 1 else answers)
        return found

    def _answers(self, group: Group, windows: list[spans.WindowScores]) -> list[dict[str, Any]]:
        normalizer = spans.Normalizer.of(windows)
        # several spans may become one answer, when they are aligned to words or have the same words elsewhere
        count = 2 * self.top_k + 10 if self.align_to_words else self.top_k
        while True:
            best = spans.best_spans(windows, count, self.max_answer_len)
            found = self._merged(group, best, normalizer)
            if len(found) >= self.top_k or len(best) < count:
                break
            count *= 2
        if self.handle_impossible_answer:
            score = normalizer.probability(sum(spans.null_scores(windows)) - self.no_answer_threshold)
            found.append({"score": score, "start": 0, "end": 0, "answer": ""})
        found.sort(key=lambda answer: -answer["score"])
        return found[: self.top_k] or [{"score": 0.0, "start": 0, "end": 0, "answer": ""}]

    def _merged(
        self, group: Group, best: Sequence[spans.AnswerSpan], normalizer: spans.Normalizer
    ) -> list[dict[str, Any]]:
        """Return the answers of the best spans, in order, merging those with the same words."""
        text, pieces = group.text[1], group.pieces
        answers: dict[str, dict[str, Any]] = {}
        for span in best:
            first, last = spans.whole_words(span, pieces.word_ids) if self.align_to_words else (span.first, span.last)
            start, stop = pieces.offsets[first][0], pieces.offsets[last][1]
            score = normalizer.probability(span.logit)
            answer = {"score": score, "start": start, "end": stop, "answer": text[start:stop]}
            known = answers.setdefault(text[start:stop].lower(), answer)
            if known is not answer:
                known["score"] += score
        return list(answers.values())

    # labels → loss and metrics

    @classmethod
    def head(cls, kind: str | None, labels: Sequence[str]) -> dict[str, Any]:
        return {"num_labels": 2}  # of a token, start and end, however many classes the model had before

    def prepare_labels(self, labels: Sequence[Any]) -> Self:
        return replace(self, handle_impossible_answer=True) if any(not label["answers"] for label in labels) else self

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with the answers' positions in rows, int64 ``[R, 2]``: start and end, 0 and 0 for none.

        Of several gold answers the first is learned. A window that holds only part of it has no answer. Labels are
        ``{"answers": [{"text", "answer_start"}, …]}``, one per question.
        """
        positions = []
        for group, label in zip(features.groups(), labels, strict=True):
            span = _answer_pieces(group.text[1], label["answers"], group.pieces)
            for encoding in group.encodings:
                window = encoding.windows[-1]
                positions.append(spans.positions_in(span, window.start, window.stop, first_piece(encoding)))
        return features.with_labels(np.array(positions, np.int64).reshape(-1, 2), "row")

    def divisor(self, features: Features) -> float:
        return float(len(features.lengths))

    def loss(self, output: Any, features: Features) -> Loss:
        """Return the loss of logits ``[T, 2]`` summed over rows: each row's is the mean of its start's and end's."""
        from bertie.tasks.summed_losses import span_sum

        return span_sum(output, features.lengths, features.targets)

    def metric(self) -> Metric:
        return QuestionAnsweringMetric(unanswerable=self.handle_impossible_answer)

    def references(self, labels: Sequence[Any]) -> list[list[str]]:
        return [[answer["text"] for answer in label["answers"]] for label in labels]

    def predictions(self, outputs: Outputs) -> list[str]:
        return [answer["answer"] for answer in replace(self, top_k=1).decode(outputs)]

    def describe(self, prediction: Any) -> str:
        return prediction or "no answer"

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        found: list[WrongAnswer | None] = []
        for given, right in zip(self.predictions(outputs), self.references(outputs.labels), strict=True):
            exact, f1 = best_match(given, right or [""])
            expected = " | ".join(dict.fromkeys(right))
            found.append(None if exact else WrongAnswer(1 - f1, self.describe(expected), self.describe(given)))
        return found

    def tune(self, outputs: Outputs) -> Self:
        task = self.prepare_labels(outputs.labels)
        if not task.handle_impossible_answer or not len(outputs.labels):
            return task
        texts, differences = task.margins(outputs)
        right = self.references(outputs.labels)
        f1 = [best_match(text, answers)[1] for text, answers in zip(texts, right, strict=True)]
        threshold, _ = find_no_answer_threshold(differences, f1, [bool(answers) for answers in right])
        return replace(task, no_answer_threshold=round(threshold, 4))

    def margins(self, outputs: Outputs) -> tuple[list[str], NDArray[np.float64]]:
        """Return what the threshold is tuned on: each question's best answer, and how much better "no answer" is.

        The difference is that of the two scores' logarithms, which for an unmerged answer is that of the logits; "no
        answer" wins if it is above ``no_answer_threshold``.
        """
        only = replace(self, top_k=1, handle_impossible_answer=False)
        lowest = np.finfo(float).tiny
        texts, differences = [], []
        for windows, answer in zip(outputs.values, only.decode(outputs), strict=True):
            null = spans.Normalizer.of(windows).probability(sum(spans.null_scores(windows)))
            texts.append(answer["answer"])
            differences.append(np.log(max(null, lowest)) - np.log(max(answer["score"], lowest)))
        return texts, np.array(differences, np.float64)


def _answer_pieces(context: str, answers: Sequence[Mapping[str, Any]], pieces: Pieces) -> tuple[int, int] | None:
    if not answers:
        return None
    text, start = answers[0]["text"], int(answers[0]["answer_start"])
    stop = start + len(text)
    if not text or context[start:stop] != text:
        raise InputError(
            f"The answer {text!r:.60} is not at character {start} of its context, where "
            f"{context[max(start, 0) : stop]!r:.60} is."
        )
    span = spans.pieces_of(pieces.offsets, start, stop)
    if span is None:
        raise InputError(f"The answer {text!r:.60} at character {start} of its context contains no token.")
    return span
