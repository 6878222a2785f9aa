"""The ASGI application: routes of all families, keys, errors in each family's shape, and a log without texts."""

import gc
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from bertie.serving.exchange import Exchange, json_of
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
    methods: ClassVar = ("POST",)


@dataclass(frozen=True)
class Asked:
    """A route without a body; ``public`` ones need no key, and ``media_types`` are those of its replies."""

    path: str
    reply: Callable[[Service, Metrics], Awaitable[Any]]
    telling: Telling
    public: bool = False
    media_types: tuple[str, ...] = ("application/json",)
    methods: ClassVar = ("GET", "HEAD")


class Application(Router):
    """What the server calls; with ``keys``, only who has one of them is answered.

    ``on_request`` is called with what the log says of each request, and its headers.
    """

    def __init__(
        self,
        service: Service,
        metrics: Metrics,
        routes: Sequence[Posted | Asked],
        keys: Sequence[str] = (),
        on_request: Callable[[Mapping[str, Any], Mapping[str, str]], None] | None = None,
    ) -> None:
        # paths have no parameters: they are looked up, where Starlette's own routes would be matched one by one
        super().__init__(default=self._respond, redirect_slashes=False, lifespan=self._running)
        self.metrics = metrics
        self._service, self._keys, self._on_request = service, tuple(key.encode() for key in keys), on_request
        self._routes: dict[str, dict[str, Posted | Asked]] = {}
        for route in routes:
            self._routes.setdefault(route.path, {}).update(dict.fromkeys(route.methods, route))

    @asynccontextmanager
    async def _running(self, _: Any) -> AsyncIterator[None]:
        await self._service.warm_up(self._service.models.values())
        gc.collect()
        gc.freeze()  # what is there now stays, and need not be looked through again and again
        yield
        self._service.close()

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.not_found(scope, receive, send)  # closes a WebSocket
            return
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        methods = self._routes.get(path.rstrip("/") or "/", {})
        route = methods.get(request.method)
        if isinstance(route, Posted):
            response = await self._posted(request, route)
        elif route is not None:
            response = await self._asked(request, route)
        else:
            response = _nothing_there(request.method, ", ".join(methods))
        await response(scope, receive, send)

    async def _posted(self, request: Request, route: Posted) -> Response:
        exchange, refusal = Exchange(self._service, self.metrics, request, _host(request)), None
        try:
            response = await self._reply(exchange, request, route)
        except Exception as error:
            refusal = _told(error, f"request {exchange.id}")
            response = _refused(refusal, route.telling)
        response.raw_headers += [(name.encode(), told.encode()) for name, told in exchange.headers().items()]
        exchange.end(None if refusal is None else refusal.kind.failure)
        is_logged = logger.isEnabledFor(logging.INFO)
        if is_logged or self._on_request is not None:
            told = _summary(exchange, route.path, response.status_code)
            if self._on_request is not None:
                self._on_request(told, request.headers)
            if is_logged:
                logger.info(msgspec.json.encode(told).decode())
        return response

    async def _reply(self, exchange: Exchange, request: Request, route: Posted) -> Response:
        exchange.client, seconds = self._checked(request), exchange.deadline
        asked = await exchange.read(route.shape)
        with self._service.admitted():
            found = await exchange.until_gone(seconds, route.reply(exchange, asked))
            if isinstance(found, Response):
                return found
            # what is much holds up the other requests, unless it is written beside them
            written: Response = await self._service.reader.run(_json, found, characters=exchange.characters)
            return written

    async def _asked(self, request: Request, route: Asked) -> Response:
        try:
            if not route.public:
                self._checked(request)
            found = await route.reply(self._service, self.metrics)
        except Exception as error:
            return _refused(_told(error, f"GET {route.path}"), route.telling)
        return found if isinstance(found, Response) else _json(found)

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
    return Response(json_of(value), media_type="application/json")


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
    if refusal.kind is UNAUTHORIZED:
        response.headers["www-authenticate"] = "Bearer"
    if refusal.retry_after is not None:
        response.headers["retry-after"] = str(refusal.retry_after)
    return response


def _nothing_there(method: str, allowed: str) -> Response:
    said, status, headers = "There is nothing at this path.", 404, None
    if allowed:
        said, status, headers = f"This path takes {allowed}, and was asked with {method}.", 405, {"allow": allowed}
    return JSONResponse({"error": said, "error_type": "Validation"}, status, headers)


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
