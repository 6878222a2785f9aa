"""One HTTP request: its body within limits, what it asks of the service, and what headers and metrics say of it."""

import asyncio
import re
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from random import getrandbits
from time import monotonic, time
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from bertie.serving.refusals import (
    BACKEND,
    GONE,
    LATE,
    MALFORMED,
    SLOW,
    TOO_LARGE,
    UNSUPPORTED,
    VALIDATION,
    Refusal,
)
from bertie.serving.service import Answers, Service
from bertie.serving.service_metrics import Metrics
from bertie.tasks.arrays import Array

Reply = TypeVar("Reply")
TIMEOUT_HEADER = "x-request-timeout"
RAW = "application/octet-stream"
# a body of no more bytes is read however many others there are
_SMALL = 65_536
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


class Exchange:
    """One request to the service.

    Attributes:
        id: the ``x-request-id`` that the client gave, or a new one.
        client: in whose turn its work is done.
        model: the name of the model that answered.
        asked: what was asked of models, in order.
    """

    def __init__(self, service: Service, metrics: Metrics, request: Request, client: str) -> None:
        self.service, self._metrics, self._request = service, metrics, request
        given = request.headers.get("x-request-id", "")
        self.id = given if _REQUEST_ID.fullmatch(given) else f"{getrandbits(64):016x}"
        self.client = client
        self.model = self._device_type = ""
        self.asked: list[Answers] = []
        self._held = 0  # bytes of the body that count for all
        self.began = monotonic()

    # what comes in

    @property
    def deadline(self) -> float:
        """The seconds that the request may take, all in all: its own header's, or the service's."""
        most = self.service.limits.seconds
        given = self._request.headers.get(TIMEOUT_HEADER)
        if given is None:
            return most
        with suppress(ValueError):
            if float(given) > 0:
                return min(float(given), most)
        raise Refusal(MALFORMED, f"The header {TIMEOUT_HEADER} is {given!r:.40}; give seconds, above 0.")

    @property
    def wants_bytes(self) -> bool:
        """Whether the client asks for vectors as raw float32 numbers, and would not rather or as well have JSON."""
        accepted = _qualities(self._request.headers.get("accept", ""))
        return accepted.get(RAW, 0) > accepted.get("application/json", 0)

    async def read(self, shape: type) -> Any:
        """Return the body as a request of this shape.

        Raises:
            Refusal: it is too large, comes too slowly, is compressed, no JSON, or of another shape.
        """
        headers = self._request.headers
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(UNSUPPORTED, "The body is compressed; send it as it is.")
        if int(headers.get("content-length") or 0) > self.service.limits.body:
            raise self._too_large()
        body, is_whole = bytearray(), False
        try:
            async with asyncio.timeout(self.service.limits.seconds):
                while not is_whole:
                    message = await self._request.receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(GONE, "The client went away.")
                    body += message.get("body", b"")
                    is_whole = not message.get("more_body")
                    if len(body) > self.service.limits.body:
                        raise self._too_large()
                    if len(body) > _SMALL:
                        self.service.hold(len(body) - self._held)
                        self._held = len(body)
        except TimeoutError as error:
            raise Refusal(SLOW, "The body did not come in time.") from error
        return read_json(body, shape)

    def _too_large(self) -> Refusal:
        return Refusal(TOO_LARGE, f"The body is longer than {self.service.limits.body} bytes; send fewer texts.")

    # what is asked

    async def answer(self, task: str, inputs: Sequence[Any], model: str | None = None, **options: Any) -> Answers:
        """As `Service.answer`, of the model of this name, or the first that has the task."""
        began, found = monotonic(), self.service.model_for(task, model)
        self.model, self._device_type = found.name, found.queue.model.device_type
        answers = await self.service.answer(found, task, inputs, self.client, **options)
        self.asked.append(answers)
        self._metrics.on_answers(task, answers, monotonic() - began)
        return answers

    async def until_gone(self, seconds: float, reply: Awaitable[Reply]) -> Reply:
        """Return what a reply gives; who goes away, or whose ``seconds`` are over, cancels it.

        Raises:
            Refusal: the client went away, or the time is over.
        """
        leaving = asyncio.ensure_future(self._request.receive())
        try:
            async with asyncio.timeout(seconds - (monotonic() - self.began)) as limit:

                def end(_: Any) -> None:
                    with suppress(RuntimeError):  # it is being answered
                        limit.reschedule(0)

                leaving.add_done_callback(end)
                return await reply
        except TimeoutError as error:
            if leaving.done():
                raise Refusal(GONE, "The client went away.") from error
            raise Refusal(LATE, f"The answer was not there within {seconds:g} seconds.") from error
        finally:
            leaving.cancel()

    # what goes out

    def vectors(self, vectors: Array) -> Any:
        """Return vectors as the reply to this client: themselves, or raw little-endian numbers."""
        if not self.wants_bytes:
            return vectors
        shape = ",".join(map(str, vectors.shape))
        return Response(vectors.astype("<f4").tobytes(), media_type=RAW, headers={"x-shape": shape, "x-dtype": "<f4"})

    def listed(self, prefix: str, data: list[Any]) -> dict[str, Any]:
        """Return ``data`` as vLLM's replies hold it, with an id of this prefix and the tokens that were computed."""
        return {
            "id": f"{prefix}-{uuid4().hex}",
            "object": "list",
            "created": int(time()),
            "model": self.model,
            "data": data,
            "usage": {"prompt_tokens": self.tokens, "total_tokens": self.tokens},
        }

    @property
    def characters(self) -> int:
        """How many characters were read."""
        return sum(answers.characters for answers in self.asked)

    @property
    def tokens(self) -> int:
        """How many tokens were computed."""
        return sum(answers.tokens for answers in self.asked)

    def headers(self) -> dict[str, str]:
        """Return what every reply says of the request: its id, what was cut off, and times in milliseconds."""
        told = {"x-request-id": self.id}
        if self.asked:
            total = _milliseconds(monotonic() - self.began)
            told |= {"x-compute-type": self._device_type, "x-compute-time": total, "x-total-time": total}
            told |= {
                f"x-{part}-time": _milliseconds(sum(getattr(answers, part) for answers in self.asked))
                for part in ("tokenization", "queue", "inference")
            }
            told["x-compute-characters"] = str(self.characters)
            told["x-compute-tokens"] = str(self.tokens)
            told["x-truncated-tokens"] = str(sum(sum(answers.truncated) for answers in self.asked))
        return told

    def end(self, failure: str | None) -> None:
        """Give back what was held, and count the request in the metrics."""
        self.service.bodies -= self._held
        single = sum(len(answers.values) for answers in self.asked) == 1
        self._metrics.on_request("single" if single else "batch", failure)


def read_json(body: bytes | bytearray, shape: type) -> Any:
    """Return JSON as an object of a shape.

    Raises:
        Refusal: it is none, or has another shape; where is named.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise Refusal(VALIDATION, f"The request has the wrong shape: {error}.") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refusal(MALFORMED, f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise Refusal(MALFORMED, "The body is not JSON that can be read: it is nested too deep.") from error


def json_of(value: Any) -> bytes:
    """Return a reply as JSON; its arrays become lists of Python's row by row, which is faster, and fewer at a time."""
    return _JSON.encode(value)


def _plain(array: Array) -> list[Any]:
    """Return an array's numbers, rows or records."""
    if array.dtype.names:
        return [dict(zip(array.dtype.names, record, strict=True)) for record in array.tolist()]
    found: list[Any] = array.tolist() if array.ndim == 1 else list(array)
    return found


_JSON = msgspec.json.Encoder(enc_hook=_plain)


def check_finite(values: Array) -> None:
    """Refuse to send what is no number."""
    if not np.isfinite(values).all():
        raise Refusal(BACKEND, "The model gives NaN or infinite numbers for this input.")


def _qualities(accept: str) -> dict[str, float]:
    """Return the media types of a header ``Accept``, and how much each is wanted: 1 unless it says less."""
    found = {}
    for part in accept.lower().split(","):
        name, *parameters = (one.strip() for one in part.split(";"))
        quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        with suppress(ValueError):
            found[name] = float(quality)
    return found


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"
