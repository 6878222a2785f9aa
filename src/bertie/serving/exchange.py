"""One HTTP request: its body within limits, what it asks of the service, and what headers and metrics say of it."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import getrandbits
from time import monotonic, time
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np

from bertie.serving.refusals import BACKEND, GONE, MALFORMED, TOO_LARGE, UNSUPPORTED, VALIDATION, Refusal
from bertie.serving.replies import Header, Receive, Reply
from bertie.serving.service import Answers, Service
from bertie.serving.service_metrics import Metrics
from bertie.tasks.arrays import Array

TIMEOUT_HEADER = b"x-request-timeout"
RAW = b"application/octet-stream"
_REQUEST_ID = re.compile(rb"[\w.:-]{1,64}")


class Exchange:
    """One request to the service."""

    client = ""  # in whose turn its work is done
    model = _device_type = ""  # what answers
    answers: Answers | None = None

    def __init__(self, service: Service, metrics: Metrics, headers: Mapping[bytes, bytes]) -> None:
        self.began = monotonic()
        self.service, self._metrics, self._headers = service, metrics, headers
        given = headers.get(b"x-request-id", b"")
        self.id = given.decode() if _REQUEST_ID.fullmatch(given) else f"{getrandbits(64):016x}"

    # what comes in

    @property
    def deadline(self) -> float:
        """The seconds that the request may take, all in all: its own header's, or the service's."""
        most = self.service.limits.seconds
        if TIMEOUT_HEADER not in self._headers:
            return most
        given = self._headers[TIMEOUT_HEADER].decode("latin-1")
        with suppress(ValueError):
            if float(given) > 0:
                return min(float(given), most)
        raise Refusal(MALFORMED, f"The header {TIMEOUT_HEADER.decode()} is {given!r:.40}; give seconds, above 0.")

    @property
    def wants_bytes(self) -> bool:
        """Whether the client asks for vectors as raw float32 numbers."""
        return RAW in self._headers.get(b"accept", b"")

    async def read(self, receive: Receive, shape: type) -> Any:
        """Return the body as a request of this shape; refuse it if it is too large, compressed, or none."""
        if self._headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refusal(UNSUPPORTED, "The body is compressed; send it as it is.")
        most = self.service.limits.body
        body, size, is_whole = bytearray(), int(self._headers.get(b"content-length") or 0), False
        while not is_whole and size <= most:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refusal(GONE, "The client went away.")
            body += message.get("body", b"")
            size, is_whole = max(size, len(body)), not message.get("more_body")
        if size > most:
            raise Refusal(TOO_LARGE, f"The body is longer than {most} bytes; send fewer texts.")
        return read_json(body, shape)

    # what is asked

    async def answer(self, task: str, inputs: Sequence[Any], model: str | None = None, **options: Any) -> Answers:
        """As `Service.answer`, of the model of this name, or the first that has the task."""
        began, found = monotonic(), self.service.model_for(task, model)
        self.model, self._device_type = found.name, found.queue.model.device_type
        self.answers = await self.service.answer(found, task, inputs, self.client, **options)
        self._metrics.on_answers(task, self.answers, monotonic() - began)
        return self.answers

    # what goes out

    def vectors(self, vectors: Array) -> Any:
        """Return vectors as the reply to this client: lists, or raw little-endian numbers."""
        if not self.wants_bytes:
            return vectors.tolist()
        shape = ",".join(map(str, vectors.shape))
        return Reply(vectors.astype("<f4").tobytes(), RAW, headers=[(b"x-shape", shape.encode()), (b"x-dtype", b"<f4")])

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
    def tokens(self) -> int:
        """How many tokens were computed."""
        return self.answers.tokens if self.answers else 0

    @property
    def num_inputs(self) -> int:
        """How many inputs were answered."""
        return len(self.answers.values) if self.answers else 0

    def headers(self) -> list[Header]:
        """Return what every reply says of the request: its id, what was cut off, and times in milliseconds."""
        told = [(b"x-request-id", self.id.encode())]
        if (answers := self.answers) is not None:
            total = _milliseconds(monotonic() - self.began)
            told += [
                (b"x-compute-type", self._device_type.encode()),
                (b"x-compute-time", total),
                (b"x-total-time", total),
                (b"x-tokenization-time", _milliseconds(answers.tokenization)),
                (b"x-queue-time", _milliseconds(answers.queue)),
                (b"x-inference-time", _milliseconds(answers.inference)),
                (b"x-compute-characters", b"%d" % answers.characters),
                (b"x-compute-tokens", b"%d" % answers.tokens),
                (b"x-truncated-tokens", b"%d" % sum(answers.truncated)),
            ]
        return told

    def summary(self, path: str, status: int) -> dict[str, Any]:
        """Return what is logged of the request, without a word of the user's."""
        return {
            "event": "request",
            "id": self.id,
            "path": path,
            "status": status,
            "ms": round((monotonic() - self.began) * 1000, 3),
            "model": self.model,
            "inputs": self.num_inputs,
            "tokens": self.tokens,
            "cut": sum(self.answers.truncated) if self.answers else 0,
        }


def read_json(body: bytes | bytearray, shape: type) -> Any:
    """Return JSON as an object of a shape; refuse what is none, or has another shape, and say where."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise Refusal(VALIDATION, f"The request has the wrong shape: {error}.") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refusal(MALFORMED, f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise Refusal(MALFORMED, "The body is not JSON that can be read: it is nested too deep.") from error


def check_finite(values: Array) -> None:
    """Refuse to send what is no number."""
    if not np.isfinite(values).all():
        raise Refusal(BACKEND, "The model gives NaN or infinite numbers for this input.")


def _milliseconds(seconds: float) -> bytes:
    return b"%.3f" % (seconds * 1000)
