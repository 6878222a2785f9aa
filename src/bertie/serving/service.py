"""The service behind HTTP: texts are read off the event loop, computed in shared steps, and answered within limits."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Any

import numpy as np

from bertie.errors import InputError, nearest
from bertie.serving.reading_threads import ReadingThreads
from bertie.serving.refusals import (
    EMPTY,
    OVERLOADED,
    UNHEALTHY,
    UNKNOWN_MODEL,
    VALIDATION,
    WRONG_MODEL,
    Refusal,
)
from bertie.serving.scheduler import Scheduler, Step
from bertie.serving.served_model import ServedModel
from bertie.serving.step_queue import Work
from bertie.tasks.features import Features
from bertie.tasks.task import Task
from bertie.threads import available_threads

# what a model without the task of a route is told
_WRONG_MODEL = {
    "embed": "an embedding model",
    "feature-extraction": "an embedding model",
    "text-classification": "a classifier model",
    "reranking": "a re-ranker model",
    "token-classification": "a model that tags words",
    "question-answering": "a model that answers questions",
    "fill-mask": "a masked language model",
    "sparse-embedding": "a sparse embedding model",
    "next-sentence": "a next-sentence model",
    "multiple-choice": "a multiple-choice model",
}
_HEALTH_TEXT = "health"


@dataclass(frozen=True)
class Limits:
    """What one client, or all of them, may ask for.

    Attributes:
        concurrent: requests that are answered at a time; more are refused until one is done.
        inputs: texts or pairs in a request.
        numbers: numbers in an answer, such as the vectors of tokens.
        body: bytes of a request's body.
        seconds: how long a request may take, its body included.
    """

    concurrent: int = 512
    inputs: int = 2_048
    numbers: int = 1 << 24
    body: int = 10_000_000
    seconds: float = 60.0


@dataclass(frozen=True)
class Answers:
    """What a request is answered: one value an input, and what it took.

    Attributes:
        values: as the task's `decode` gives them.
        truncated: the tokens of each input that no row holds.
        tokens: the tokens that were computed.
        tokenization, queue, inference: seconds.
    """

    values: Sequence[Any]
    truncated: Sequence[int]
    tokens: int
    tokenization: float
    queue: float
    inference: float


class Service:
    """Answers requests to several models. Everything but reading texts and computing runs in the event loop's thread.

    Attributes:
        models: by name, in the order in which they were given.
        limits: see there.
        draining: True once it answers no more than it has accepted.
        in_flight: how many requests are being answered.
        readers: the threads that read texts.
    """

    def __init__(
        self,
        models: Sequence[ServedModel],
        limits: Limits,
        on_step: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self.models = {model.name: model for model in models}
        if len(self.models) < len(models):
            raise InputError(f"Two models have the same name; give one another name: NAME={models[-1].name}.")
        self.limits = limits
        self.draining = False
        self.in_flight = 0
        self._tokens_a_second = 0.0
        self._on_step = on_step
        self._scheduler = Scheduler((model.queue for model in models), self._note_step)
        self.readers = ReadingThreads(min(4, available_threads()))

    def close(self) -> None:
        """End the threads."""
        self._scheduler.close()
        self.readers.close()

    # who may ask

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request as being answered.

        Raises:
            Refusal: there are as many as may be.
        """
        if self.in_flight >= self.limits.concurrent:
            raise Refusal(OVERLOADED, "Model is overloaded", self._seconds_of_waiting())
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    @property
    def waiting(self) -> int:
        """How many requests wait for their first step."""
        return sum(len(model.queue) for model in self.models.values())

    def _seconds_of_waiting(self) -> int:
        tokens = sum(model.queue.tokens for model in self.models.values())
        return min(60, max(1, ceil(tokens / self._tokens_a_second))) if self._tokens_a_second else 1

    def _note_step(self, step: Step) -> None:
        rate = step.tokens / max(step.seconds, 1e-9)
        self._tokens_a_second += (rate - self._tokens_a_second) * (0.1 if self._tokens_a_second else 1)
        self._on_step(step)

    # what is asked

    def named(self, name: str | None = None) -> ServedModel:
        """Return the model of this name, or the first.

        Raises:
            Refusal: there is none of this name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refusal(
                UNKNOWN_MODEL,
                f"There is no model {name!r:.120}; there is {', '.join(map(repr, self.models))}."
                f"{nearest(name[:120], self.models)}",
            )
        return self.models[name]

    def model_for(self, task: str, name: str | None = None) -> ServedModel:
        """Return the model of this name, or the first that has the task.

        Raises:
            Refusal: there is none of this name, or it does not have the task.
        """
        candidates = self.models.values() if name is None else [self.named(name)]
        found = next((model for model in candidates if task in model.tasks), None)
        if found is None:
            raise Refusal(WRONG_MODEL, f"model is not {_WRONG_MODEL[task]}")
        return found

    async def answer(
        self,
        model: ServedModel,
        task: str,
        inputs: Sequence[Any],
        client: str = "",
        *,
        refuse_cut: bool = False,
        **options: Any,
    ) -> Answers:
        """Return one value an input: texts or what else the task takes, or rows of ids.

        Args:
            model: which of them.
            task: one of its tasks.
            inputs: at least one.
            client: who asks, in whose turn the work is done.
            refuse_cut: refuse a text that is too long, where it is usually cut.
            **options: the task's; those that are None are left to the model.

        Raises:
            Refusal, BertieError: an input or option that cannot be, or a failure of the model.
        """
        if len(inputs) > self.limits.inputs:
            raise Refusal(VALIDATION, f"batch size {len(inputs)} > maximum allowed batch size {self.limits.inputs}")
        began, loop = monotonic(), asyncio.get_running_loop()
        reader, computer = model.task(task, **options), model.computing_task(task, **options)
        features = await self.readers.run(_rows_of_ids if _are_ids(inputs[0]) else _features_of, reader, inputs)
        if refuse_cut:
            _refuse_cut(features, reader)
        work = Work(computer, features.without_texts(), client, loop.create_future())
        self._scheduler.submit(model.queue, work)
        kept = await work.answered
        computed, started = monotonic(), work.started or began
        values = await self.readers.run(_decoded, reader, kept, features)
        return Answers(
            values,
            features.truncated,
            len(features.ids),
            tokenization=work.queued - began,
            queue=started - work.queued,
            inference=computed - started,
        )

    async def check_health(self, seconds: float = 5.0) -> None:
        """Return if every model computes: it just did, or does so now.

        Raises:
            Refusal: it fails, takes longer than ``seconds``, or the service is ending.
        """
        if self.draining:
            raise Refusal(UNHEALTHY, "unhealthy")
        if monotonic() - self._scheduler.last_step < seconds:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.warm_up()
        except Exception as error:
            raise Refusal(UNHEALTHY, "unhealthy") from error

    async def warm_up(self) -> None:
        """Have every model answer one text: what is made at the first call is made then."""
        for model in self.models.values():
            await self.answer(model, model.tasks[0], [_health_input(model)], "health")


def _features_of(task: Task, inputs: Sequence[Any]) -> Features:
    return task.encode(inputs)


def _are_ids(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and isinstance(given[0], int)


def _rows_of_ids(task: Task, rows: Sequence[Sequence[int]]) -> Features:
    """Return rows of the model's own ids, special ones included, cut to its limit."""
    size = task.config.vocab_size
    for number, row in enumerate(rows):
        for place, token in enumerate(row):
            if not 0 <= token < size:
                raise InputError(
                    f"Token {place} of input {number} has the id {token}; the model's vocabulary has 0 to {size - 1}. "
                    "Ids of another tokenizer mean nothing to this model: send the text."
                )
    cut = [max(0, len(row) - task.limit) for row in rows]
    left = task.tokenizer.truncation_side == "left"
    kept = [row[count:] if left else row[: len(row) - count] for row, count in zip(rows, cut, strict=True)]
    flat = np.array([token for row in kept for token in row], np.int64)
    return Features(flat, None, list(map(len, kept)), cut, [False] * len(rows))


def _refuse_cut(features: Features, task: Task) -> None:
    for cut in features.truncated:
        if cut:
            raise Refusal(
                VALIDATION,
                f"Input validation error: `inputs` must have less than {task.limit} tokens. Given: {task.limit + cut}",
            )


def _decoded(task: Task, kept: Sequence[Any], features: Features) -> Sequence[Any]:
    return task.decode(task.outputs(kept, features))


def _health_input(model: ServedModel) -> Any:
    """Return an input that the model's main task takes."""
    inputs: Mapping[str, Any] = {
        "fill-mask": model.tokenizer.mask_token,
        "reranking": (_HEALTH_TEXT, _HEALTH_TEXT),
        "next-sentence": (_HEALTH_TEXT, _HEALTH_TEXT),
        "question-answering": (_HEALTH_TEXT, _HEALTH_TEXT),
        "multiple-choice": (_HEALTH_TEXT, [_HEALTH_TEXT, _HEALTH_TEXT]),
    }
    return inputs.get(model.tasks[0], _HEALTH_TEXT)


def check_texts(texts: Sequence[Any], name: str) -> None:
    """Refuse no texts, and a text without characters, with text-embeddings-inference's sentences."""
    if not texts:
        raise Refusal(EMPTY, f"`{name}` cannot be empty")
    if any(text in ("", []) for text in texts):
        raise Refusal(EMPTY, f"Input validation error: `{name}` cannot be empty")
