"""The service behind HTTP: texts are read off the event loop, computed in shared steps, and answered within limits."""

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
    refuse_cut_texts,
    rows_of_ids,
)
from bertie.serving.scheduler import Scheduler, Step
from bertie.serving.served_model import GENERATE, SPANS, ServedModel
from bertie.serving.step_queue import Work
from bertie.threads import available_threads

logger = getLogger("bertie.serving")
# what a model without the task of a route is told
_WRONG_MODEL = {
    "embed": "an embedding model",
    "feature-extraction": "an embedding model",
    SPANS: "an embedding model",
    "text-classification": "a classifier model",
    "reranking": "a re-ranker model",
    "token-classification": "a model that tags words",
    "question-answering": "a model that answers questions",
    "fill-mask": "a masked language model",
    "sparse-embedding": "a sparse embedding model",
    "next-sentence": "a next-sentence model",
    "multiple-choice": "a multiple-choice model",
    GENERATE: "a model that writes texts",
    "attention-weights": "computed by the engine, which alone gives attention weights",
}


@dataclass(frozen=True)
class Limits:
    """What one client, or all of them, may ask for."""

    concurrent: int = 512  # requests that are answered at a time; more are refused until one is done
    inputs: int = 2_048  # texts, pairs or choices in a request
    characters: int = 50_000_000  # of all inputs together, a query counted once for each text that it is paired with
    numbers: int = 1 << 24  # in an answer, such as the vectors of tokens, or in what it is made of
    body: int = 10_000_000  # bytes of a request's body
    bodies: int = 1 << 28  # or `body`, if that is more: of all bodies of a time together, without those that are small
    seconds: float = 60.0  # how long a request may take, its body included


@dataclass(frozen=True)
class Answers:
    """What a request is answered, and what it took: characters that were read, tokens that were computed, seconds."""

    values: Sequence[Any]  # one an input, as the task's `decode` gives them
    truncated: Sequence[int]  # the tokens of each input that no row holds
    characters: int
    tokens: int
    tokenization: float
    queue: float
    inference: float


class Service:
    """Answers requests to several models.

    Everything but reading texts and computing runs in the event loop's thread.
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
        self.draining = False  # whether it answers no more than it has accepted
        self.is_complete: Callable[[], bool] = lambda: True  # whether all processes that serve beside this one do
        self.in_flight = 0
        self.bodies = 0  # bytes that count for `Limits.bodies`
        self._tokens_a_second = 0.0
        self._on_step = on_step
        # texts are written for seconds: on threads of their own, not to hold up what takes milliseconds
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

    # who may ask

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request as being answered; refuse it if there are as many as may be."""
        if self.in_flight >= self.limits.concurrent:
            raise Refusal(OVERLOADED, "Model is overloaded", self._seconds_of_waiting())
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def hold(self, count: int) -> None:
        """Make room for so many bytes of a body that is not small; whoever holds them gives them back."""
        if self.bodies + count > max(self.limits.bodies, self.limits.body):
            raise Refusal(OVERLOADED, "Model is overloaded", self._seconds_of_waiting())
        self.bodies += count

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
        """Return the model of this name, or the first; refuse a name that none has."""
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
        """Return the model of this name, or the first that has the task; refuse one that does not have it."""
        candidates = self.models.values() if name is None else [self.named(name)]
        found = next((model for model in candidates if task in model.tasks), None)
        if found is None:
            raise Refusal(WRONG_MODEL, f"model is not {_WRONG_MODEL[task]}{self._others_with(task)}")
        return found

    def _others_with(self, task: str) -> str:
        """Return what is said of the other models where one that is asked does not have the task."""
        if len(self.models) == 1:
            return ""
        able = [repr(name) for name, model in self.models.items() if task in model.tasks]
        if not able:
            return f"; none that is served here can do it: {', '.join(map(repr, self.models))}"
        return f"; {', '.join(able)} can do it: name one as `model`"

    async def answer(
        self,
        model: ServedModel,
        task: str,
        inputs: Sequence[Any],
        client: str = "",
        *,
        refuse_cut: bool = False,
        numbers_a_token: int = 0,
        **options: Any,
    ) -> Answers:
        """Return one value an input, of which there is one at least: texts or what else the task takes, or rows of ids.

        The work is done in the client's turn. ``refuse_cut`` refuses a text that is usually cut for its length, and
        ``numbers_a_token`` are kept of each token; options that are None are left to the model.
        """
        characters = self.check_size(inputs)
        began, loop = monotonic(), asyncio.get_running_loop()
        reading, computing = model.task(task, **options), model.computing_task(task, **options)
        if are_ids(inputs[0]):
            features = await self.reader.run(rows_of_ids, reading, inputs, characters=characters)
        else:
            features = await self.reader.features_of(reading, inputs, characters)
        self.check_numbers(len(features.ids) * numbers_a_token)
        if refuse_cut:
            refuse_cut_texts(features, reading)
        most = model.rows_together(computing)
        work = Work(computing, features, client, loop.create_future(), most)
        (self._writing if model.writes else self._reading).submit(model.queue, work)
        kept = await work.answered
        computed, started = monotonic(), work.started or began
        values = await self.reader.run(decoded, reading, kept, features, characters=characters)
        return Answers(
            values,
            features.truncated,
            characters,
            len(features.ids),
            tokenization=work.queued - began,
            queue=started - work.queued,
            inference=computed - started,
        )

    def check_size(self, inputs: Sequence[Any]) -> int:
        """Return how many characters there are; refuse too many of them, or of inputs."""
        limits, count = self.limits, count_inputs(inputs)
        if count > limits.inputs:
            raise Refusal(VALIDATION, f"batch size {count} > maximum allowed batch size {limits.inputs}")
        if (characters := count_characters(inputs)) > limits.characters:
            raise Refusal(VALIDATION, f"The inputs have {characters} characters, {limits.characters} are allowed.")
        return characters

    def check_numbers(self, count: int) -> None:
        """Refuse an answer of too many numbers."""
        if count > self.limits.numbers:
            raise Refusal(
                VALIDATION, f"The answer would have {count} numbers, {self.limits.numbers} are allowed: ask for less."
            )

    async def check_health(self, seconds: float = 5.0) -> None:
        """Return if all processes serve, and every model just computed or does so now within ``seconds``."""
        if self.draining or not self.is_complete():
            raise Refusal(UNHEALTHY, "unhealthy")
        silent = [model for model in self.models.values() if monotonic() - model.queue.last_step > seconds]
        try:
            async with asyncio.timeout(seconds):
                await self.warm_up(silent)
        except Exception as error:
            raise Refusal(UNHEALTHY, "unhealthy") from error

    async def reload(self) -> None:
        """Read every model anew from where it came; one that cannot be read, or fails, leaves the old one serving."""
        for name, model in list(self.models.items()):
            try:
                fresh = await asyncio.to_thread(model.reopen)
                await self.warm_up([fresh])
            except Exception as error:
                logger.error("The model %r stays as it was, for the new one cannot serve: %s", name, error)
            else:
                self.models[name] = fresh
                logger.warning("The model %r was read anew.", name)

    async def warm_up(self, models: Iterable[ServedModel]) -> None:
        """Have every model answer one text: what is made at the first call is made then."""
        for model in models:
            shortest: dict[str, Any] = {"max_new_tokens": 1} if model.writes else {}
            await self.answer(model, model.tasks[0], [health_input(model)], "health", **shortest)
