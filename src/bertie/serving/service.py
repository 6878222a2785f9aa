"""The service behind HTTP: it encodes inputs, computes them in shared steps, and enforces the limits."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from math import ceil
from time import monotonic
from typing import Any

from bertie.errors import InputError, nearest
from bertie.serving.input_reader import InputReader
from bertie.serving.refusals import OVERLOADED, UNHEALTHY, UNKNOWN_MODEL, VALIDATION, WRONG_MODEL, Refusal
from bertie.serving.request_inputs import (
    are_ids,
    count_characters,
    count_inputs,
    decoded,
    health_input,
    refuse_truncated_texts,
    rows_of_ids,
)
from bertie.serving.scheduler import Scheduler, Step
from bertie.serving.served_model import ATTENTION, GENERATE, SPANS, ServedModel
from bertie.serving.step_queue import Job
from bertie.threads import available_threads

logger = getLogger("bertie.serving")
# a task → what a model without it is not: "model is not …"
_WRONG_MODEL = {
    "embed": "an embedding model",
    "feature-extraction": "an embedding model",
    SPANS: "an embedding model",
    "text-classification": "a classifier model",
    "reranking": "a re-ranker model",
    "token-classification": "a token classifier",
    "question-answering": "a question-answering model",
    "fill-mask": "a masked language model",
    "sparse-embedding": "a sparse embedding model",
    "next-sentence": "a next-sentence model",
    "multiple-choice": "a multiple-choice model",
    GENERATE: "a model that writes texts",
    ATTENTION: "computed by the engine, which alone gives attention weights",
}


@dataclass(frozen=True)
class Limits:
    """Limits on single requests, and on all of them together."""

    concurrent: int = 512  # requests being answered at a time; more are refused
    inputs: int = 2_048  # texts, pairs or choices in a request
    characters: int = 50_000_000  # in all inputs of a request, a query counted once for each text it is paired with
    numbers: int = 1 << 24  # in an answer, such as the vectors of tokens, or in the arrays it is computed from
    body: int = 10_000_000  # bytes of a request's body
    bodies: int = 1 << 28  # bytes of all bodies held at a time, small ones not counted; at least `body`
    seconds: float = 60.0  # how long a request may take, receiving its body included


@dataclass(frozen=True)
class Answers:
    """The answer to a request, with its size and the time it took."""

    values: Sequence[Any]  # one for each input, as the task's `decode` returns them
    truncated: Sequence[int]  # the tokens of each input that were cut off
    characters: int
    tokens: int  # computed
    tokenization: float  # seconds, and so below
    queue: float
    inference: float


class Service:
    """Answers requests to several models.

    All of it runs in the event loop's thread, except encoding, computing and decoding.
    """

    def __init__(
        self,
        models: Sequence[ServedModel],
        limits: Limits,
        on_step: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self.models = {model.name: model for model in models}
        names = [model.name for model in models]
        if (twice := next((name for place, name in enumerate(names) if name in names[:place]), None)) is not None:
            raise InputError(f"Two models are called {twice!r}; give one of them another name: NAME=FOLDER.")
        self.limits = limits
        self.draining = False  # shutting down: only requests already accepted are answered
        self.is_complete: Callable[[], bool] = lambda: True  # whether all server processes are serving
        self.in_flight = 0
        self.body_bytes = 0  # counted against `Limits.bodies`
        self._tokens_per_second = 0.0
        self._on_step = on_step
        # generation takes seconds: on threads of its own it does not hold up requests that take milliseconds
        self._reading, self._writing = (
            Scheduler((model.queue.model for model in models if model.writes == writes), self._note_step)
            for writes in (False, True)
        )
        self.reader = InputReader(min(4, available_threads()))

    def close(self) -> None:
        """End the threads."""
        self._reading.close()
        self._writing.close()
        self.reader.close()

    # admission

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request as in flight; refuse it if there are too many."""
        if self.in_flight >= self.limits.concurrent:
            raise Refusal(OVERLOADED, "Model is overloaded", self._retry_after())
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def reserve(self, count: int) -> None:
        """Reserve bytes for a body; the caller subtracts them from ``body_bytes`` when it is done."""
        if self.body_bytes + count > max(self.limits.bodies, self.limits.body):
            raise Refusal(OVERLOADED, "Model is overloaded", self._retry_after())
        self.body_bytes += count

    @property
    def waiting(self) -> int:
        """The number of requests waiting for their first step."""
        return sum(len(model.queue) for model in self.models.values())

    def _retry_after(self) -> int:
        tokens = sum(model.queue.tokens for model in self.models.values())
        return min(60, max(1, ceil(tokens / self._tokens_per_second))) if self._tokens_per_second else 1

    def _note_step(self, step: Step) -> None:
        rate = step.tokens / max(step.seconds, 1e-9)  # its moving average estimates how long the queue takes
        self._tokens_per_second += (rate - self._tokens_per_second) * (0.1 if self._tokens_per_second else 1)
        self._on_step(step)

    # answers

    def named(self, name: str | None = None) -> ServedModel:
        """Return the model of this name, by default the first; refuse an unknown name."""
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
        """Return the model of this name, by default the first with the task; refuse a model without it."""
        candidates = self.models.values() if name is None else [self.named(name)]
        found = next((model for model in candidates if task in model.tasks), None)
        if found is None:
            raise Refusal(WRONG_MODEL, f"model is not {_WRONG_MODEL[task]}{self._suggestion(task)}")
        return found

    def _suggestion(self, task: str) -> str:
        """Return the end of the error message: which other models have the task."""
        if len(self.models) == 1:
            return ""
        able = [repr(name) for name, model in self.models.items() if task in model.tasks]
        if not able:
            return f"; no model served here can do this: {', '.join(map(repr, self.models))}"
        return f"; {', '.join(able)} can do this: name one as `model`"

    async def answer(
        self,
        model: ServedModel,
        task: str,
        inputs: Sequence[Any],
        client: str = "",
        *,
        refuse_truncation: bool = False,
        values_per_token: int = 0,
        **options: Any,
    ) -> Answers:
        """Return one value for each input.

        Args:
            model: computes them.
            task: one of its tasks.
            inputs: at least one; texts or whatever the task takes, or rows of token ids.
            client: among which the queue is shared fairly.
            refuse_truncation: whether a text that is too long is refused instead of being truncated.
            values_per_token: how many numbers the answer holds for each token, checked against the limits.
            **options: those of the task; None means the model's default.

        Raises:
            Refusal: a limit is exceeded, or a text is too long and may not be truncated.
        """
        characters = self.check_size(inputs)
        began, loop = monotonic(), asyncio.get_running_loop()
        reading, computing = model.task(task, **options), model.computing_task(task, **options)
        if are_ids(inputs[0]):
            features = await self.reader.run(rows_of_ids, reading, inputs, characters=characters)
        else:
            features = await self.reader.features_of(reading, inputs, characters)
        self.check_answer_size(len(features.ids) * values_per_token)
        if refuse_truncation:
            refuse_truncated_texts(features, reading)
        job = Job(computing, features, client, loop.create_future(), model.max_rows(computing))
        (self._writing if model.writes else self._reading).submit(model.queue, job)
        results = await job.future
        computed, started = monotonic(), job.started or began
        values = await self.reader.run(decoded, reading, results, features, characters=characters)
        return Answers(
            values,
            features.truncated,
            characters,
            len(features.ids),
            tokenization=job.queued - began,
            queue=started - job.queued,
            inference=computed - started,
        )

    def check_size(self, inputs: Sequence[Any]) -> int:
        """Return the number of characters; refuse too many of them, or too many inputs."""
        limits, count = self.limits, count_inputs(inputs)
        if count > limits.inputs:
            raise Refusal(VALIDATION, f"batch size {count} > maximum allowed batch size {limits.inputs}")
        if (characters := count_characters(inputs)) > limits.characters:
            raise Refusal(VALIDATION, f"The inputs have {characters} characters; {limits.characters} are allowed.")
        return characters

    def check_answer_size(self, count: int) -> None:
        """Refuse an answer of too many numbers."""
        if count > self.limits.numbers:
            raise Refusal(
                VALIDATION, f"The answer would have {count} numbers; {self.limits.numbers} are allowed: ask for less."
            )

    async def check_health(self, seconds: float = 5.0) -> None:
        """Check that all processes serve, and that every model has computed within ``seconds`` or does so now.

        Raises:
            Refusal: the service is unhealthy.
        """
        if self.draining or not self.is_complete():
            raise Refusal(UNHEALTHY, "unhealthy")
        idle = [model for model in self.models.values() if monotonic() - model.queue.last_step > seconds]
        try:
            async with asyncio.timeout(seconds):
                await self.warm_up(idle)
        except Exception as error:
            raise Refusal(UNHEALTHY, "unhealthy") from error

    async def reload(self) -> None:
        """Reload every model from its files; where that fails, the old one goes on serving."""
        for name, model in list(self.models.items()):
            try:
                fresh = await asyncio.to_thread(model.reopen)
                await self.warm_up([fresh])
            except Exception as error:
                logger.error("The model %r could not be reloaded, and the old one goes on serving: %s", name, error)
            else:
                self.models[name] = fresh
                logger.warning("The model %r was reloaded.", name)

    async def warm_up(self, models: Iterable[ServedModel]) -> None:
        """Have every model answer one text, so that whatever is set up on the first call is ready."""
        for model in models:
            options: dict[str, Any] = {"max_new_tokens": 1} if model.writes else {}
            await self.answer(model, model.tasks[0], [health_input(model)], "health", **options)
