"""One HTTP request: its body, its calls to the service, its response headers, and its part in the metrics."""

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
# bodies up to this size don't count towards the limit on all bodies together
_SMALL_BODY = 65_536
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


class Exchange:
    """One request to the service.

    Attributes:
        id: the ``x-request-id`` that the client gave, or a new one.
        client: the client's identity in the fair queue.
        model: the name of the model that answered.
        answers: the models' answers, in order.
    """

    def __init__(self, service: Service, metrics: Metrics, request: Request, client: str) -> None:
        self.service, self._metrics, self._request = service, metrics, request
        given = request.headers.get("x-request-id", "")
        self.id = given if _REQUEST_ID.fullmatch(given) else f"{getrandbits(64):016x}"
        self.client = client
        self.model = self._device_type = ""
        self.answers: list[Answers] = []
        self._reserved = 0  # bytes of the body that count towards the limit on all bodies
        self.began = monotonic()

    # the request

    @property
    def deadline(self) -> float:
        """The seconds that the request may take in all: those of its own header, up to the service's limit."""
        limit = self.service.limits.seconds
        given = self._request.headers.get(TIMEOUT_HEADER)
        if given is None:
            return limit
        with suppress(ValueError):
            if float(given) > 0:
                return min(float(given), limit)
        raise Refusal(MALFORMED, f"The header {TIMEOUT_HEADER} is {given!r:.40}; give seconds, above 0.")

    @property
    def wants_bytes(self) -> bool:
        """Whether the client prefers vectors as raw float32 numbers to JSON."""
        accepted = _qualities(self._request.headers.get("accept", ""))
        return accepted.get(RAW, 0) > accepted.get("application/json", 0)

    async def read(self, shape: type) -> Any:
        """Return the body decoded to ``shape``.

        Raises:
            Refusal: it is too large, too slow, compressed, not JSON, or of another shape.
        """
        headers = self._request.headers
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(UNSUPPORTED, "The body is compressed; send it as it is.")
        if int(headers.get("content-length") or 0) > self.service.limits.body:
            raise self._too_large()
        body, is_complete = bytearray(), False
        try:
            async with asyncio.timeout(self.service.limits.seconds):
                while not is_complete:
                    message = await self._request.receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(GONE, "The client disconnected.")
                    body += message.get("body", b"")
                    is_complete = not message.get("more_body")
                    if len(body) > self.service.limits.body:
                        raise self._too_large()
                    if len(body) > _SMALL_BODY:
                        self.service.reserve(len(body) - self._reserved)
                        self._reserved = len(body)
        except TimeoutError as error:
            raise Refusal(SLOW, "The body did not come in time.") from error
        return read_json(body, shape)

    def _too_large(self) -> Refusal:
        return Refusal(TOO_LARGE, f"The body is longer than {self.service.limits.body} bytes; send fewer texts.")

    # calls to the service

    async def answer(self, task: str, inputs: Sequence[Any], model: str | None = None, **options: Any) -> Answers:
        """Call `Service.answer` with the model of this name, or the first that has the task."""
        began, found = monotonic(), self.service.model_for(task, model)
        self.model, self._device_type = found.name, found.queue.model.device_type
        answers = await self.service.answer(found, task, inputs, self.client, **options)
        self.answers.append(answers)
        self._metrics.on_answers(task, answers, monotonic() - began)
        return answers

    async def until_disconnect(self, seconds: float, reply: Awaitable[Reply]) -> Reply:
        """Await a reply; cancel it when the client disconnects or ``seconds`` have passed since the request began.

        Raises:
            Refusal: the client disconnected, or the time is up.
        """
        leaving = asyncio.ensure_future(self._request.receive())
        try:
            async with asyncio.timeout(seconds - (monotonic() - self.began)) as limit:

                def end(_: Any) -> None:
                    with suppress(RuntimeError):  # the reply is complete
                        limit.reschedule(0)

                leaving.add_done_callback(end)
                return await reply
        except TimeoutError as error:
            if leaving.done():
                raise Refusal(GONE, "The client disconnected.") from error
            raise Refusal(LATE, f"The answer took longer than {seconds:g} seconds.") from error
        finally:
            leaving.cancel()

    # the reply

    def vectors(self, vectors: Array) -> Any:
        """Return the vectors as they are, or a response of raw little-endian float32 if the client prefers it."""
        if not self.wants_bytes:
            return vectors
        shape = ",".join(map(str, vectors.shape))
        return Response(vectors.astype("<f4").tobytes(), media_type=RAW, headers={"x-shape": shape, "x-dtype": "<f4"})

    def listed(self, prefix: str, data: list[Any]) -> dict[str, Any]:
        """Return ``data`` in vLLM's list object, with an id of this prefix and the token usage."""
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
        return sum(answers.characters for answers in self.answers)

    @property
    def tokens(self) -> int:
        """How many tokens were computed."""
        return sum(answers.tokens for answers in self.answers)

    def headers(self) -> dict[str, str]:
        """Return the response headers: the request's id, its counts, and times in milliseconds."""
        found = {"x-request-id": self.id}
        if self.answers:
            total = _milliseconds(monotonic() - self.began)
            found |= {"x-compute-type": self._device_type, "x-compute-time": total, "x-total-time": total}
            found |= {
                f"x-{part}-time": _milliseconds(sum(getattr(answers, part) for answers in self.answers))
                for part in ("tokenization", "queue", "inference")
            }
            found["x-compute-characters"] = str(self.characters)
            found["x-compute-tokens"] = str(self.tokens)
            found["x-truncated-tokens"] = str(sum(sum(answers.truncated) for answers in self.answers))
        return found

    def end(self, failure: str | None) -> None:
        """Release the body's bytes, and count the request in the metrics."""
        self.service.body_bytes -= self._reserved
        single = sum(len(answers.values) for answers in self.answers) == 1
        self._metrics.on_request("single" if single else "batch", failure)


def read_json(body: bytes | bytearray, shape: type) -> Any:
    """Decode JSON to ``shape``.

    Raises:
        Refusal: it is not JSON, or has another shape; the message says where.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise Refusal(VALIDATION, f"The request has the wrong shape: {error}.") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refusal(MALFORMED, f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise Refusal(MALFORMED, "The body is JSON nested too deeply to be read.") from error


def json_of(value: Any) -> bytes:
    """Encode a reply as JSON; arrays become Python lists row by row, which is faster and takes less memory."""
    return _JSON.encode(value)


def _to_list(array: Array) -> list[Any]:
    """Return an array's numbers, rows or records."""
    if array.dtype.names:
        return [dict(zip(array.dtype.names, record, strict=True)) for record in array.tolist()]
    found: list[Any] = array.tolist() if array.ndim == 1 else list(array)
    return found


_JSON = msgspec.json.Encoder(enc_hook=_to_list)


def check_finite(values: Array) -> None:
    """Refuse to send NaN and infinity, which JSON does not have."""
    if not np.isfinite(values).all():
        raise Refusal(BACKEND, "The model computes NaN or infinite numbers for this input.")


def _qualities(accept: str) -> dict[str, float]:
    """Return the media types of an ``Accept`` header with their quality values, 1 where none is given."""
    found = {}
    for part in accept.lower().split(","):
        name, *parameters = (one.strip() for one in part.split(";"))
        quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        with suppress(ValueError):
            found[name] = float(quality)
    return found


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"
