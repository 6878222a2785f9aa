"""The ASGI application: routes of all families, keys, errors in each family's shape, and a log without texts."""

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bertie.serving.exchange import Exchange
from bertie.serving.refusals import BACKEND, GONE, UNAUTHORIZED, Refusal, refusal_of
from bertie.serving.service import Service
from bertie.serving.service_metrics import Metrics

logger = logging.getLogger("bertie.serving")
# a refusal → the body that tells it, in the shape of a family of clients, and the status
Telling = Callable[[Refusal], tuple[int, Any]]


@dataclass(frozen=True)
class Posted:
    """A route that answers JSON: what its body is, the function that replies, and how refusals are told."""

    path: str
    shape: type
    reply: Callable[[Exchange, Any], Awaitable[Any]]
    telling: Telling


@dataclass(frozen=True)
class Asked:
    """A route without a body; ``public`` ones need no key, and ``media_types`` are those of its replies."""

    path: str
    reply: Callable[[Service, Metrics], Awaitable[Any]]
    telling: Telling
    public: bool = False
    media_types: tuple[str, ...] = ("application/json",)


def make_app(
    service: Service,
    metrics: Metrics,
    routes: Sequence[Posted | Asked],
    keys: Sequence[str] = (),
    on_request: Callable[[Mapping[str, Any], Mapping[str, str]], None] = lambda *_: None,
) -> Any:
    """Return the application; with ``keys``, only who has one of them is answered.

    ``on_request`` is called with what the log says of each request, and its headers.
    """
    door = _Door(service, metrics, tuple(key.encode() for key in keys), on_request)

    @asynccontextmanager
    async def running(_: Starlette) -> Any:
        await service.warm_up(service.models.values())
        yield
        service.close()

    made = [
        Route(route.path, door.posted(route), methods=["POST"])
        if isinstance(route, Posted)
        else Route(route.path, door.asked(route), methods=["GET"])
        for route in routes
    ]
    return Starlette(routes=made, lifespan=running, exception_handlers={404: _nothing_there, 405: _nothing_there})


class _Door:
    """Makes of a route's function what Starlette calls."""

    def __init__(self, service: Service, metrics: Metrics, keys: tuple[bytes, ...], on_request: Any) -> None:
        self._service, self._metrics, self._keys, self._on_request = service, metrics, keys, on_request

    def posted(self, route: Posted) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            exchange = Exchange(self._service, self._metrics, request, _host(request))
            refusal = None
            try:
                response = await self._reply(exchange, request, route)
            except Exception as error:
                refusal = _told(error, f"request {exchange.id}")
                response = _refused(refusal, route.telling)
            response.raw_headers += [(name.encode(), told.encode()) for name, told in exchange.headers().items()]
            exchange.note(None if refusal is None else refusal.kind.failure)
            told = _summary(exchange, route.path, response.status_code)
            self._on_request(told, request.headers)
            if logger.isEnabledFor(logging.INFO):
                logger.info(msgspec.json.encode(told).decode())
            return response

        return handle

    async def _reply(self, exchange: Exchange, request: Request, route: Posted) -> Response:
        exchange.client, seconds = self._checked(request), exchange.deadline
        asked = await exchange.read(route.shape)
        with self._service.admitted():
            found = await exchange.until_gone(seconds, route.reply(exchange, asked))
        return found if isinstance(found, Response) else _json(found)

    def asked(self, route: Asked) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            try:
                if not route.public:
                    self._checked(request)
                found = await route.reply(self._service, self._metrics)
            except Exception as error:
                return _refused(_told(error, f"GET {route.path}"), route.telling)
            return found if isinstance(found, Response) else _json(found)

        return handle

    def _checked(self, request: Request) -> str:
        """Return who asks: by the key where there are keys, else by the address.

        All keys are compared, each in a time that does not depend on what was sent.
        """
        if not self._keys:
            return _host(request)
        given = dict(request.scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        equal = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        if scheme.lower() != b"bearer" or not any(equal):
            raise Refusal(UNAUTHORIZED, "The API key is missing or wrong; send Authorization: Bearer KEY.")
        return f"key {equal.index(True)}"


def _host(request: Request) -> str:
    return request.client.host if request.client else ""


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _told(error: Exception, what: str) -> Refusal:
    """Return what the client learns of an error; a fault of the program is logged, and described to nobody."""
    refusal = refusal_of(error)
    if refusal is None:
        logger.error("%s failed", what, exc_info=error)
        refusal = Refusal(BACKEND, "The request failed for a reason that is in the server's log.")
    return refusal


def _refused(refusal: Refusal, telling: Telling) -> Response:
    status, body = telling(refusal)
    response = Response(status_code=status) if refusal.kind is GONE else JSONResponse(body, status)
    if refusal.retry_after is not None:
        response.headers["retry-after"] = str(refusal.retry_after)
    return response


async def _nothing_there(request: Request, error: Any) -> Response:
    said = "There is nothing at this path."
    if error.status_code == 405:
        said = f"This path takes {error.headers['Allow']}, and was asked with {request.method}."
    return JSONResponse({"error": said, "error_type": "Validation"}, error.status_code, headers=error.headers)


def _summary(exchange: Exchange, path: str, status: int) -> dict[str, Any]:
    """Return what is logged of a request, without a word of the user's."""
    return {
        "event": "request",
        "id": exchange.id,
        "path": path,
        "status": status,
        "ms": round((monotonic() - exchange.began) * 1000, 3),
        "model": exchange.model,
        "inputs": sum(len(answers.values) for answers in exchange.asked),
        "tokens": exchange.tokens,
        "cut": sum(sum(answers.truncated) for answers in exchange.asked),
    }
