"""The ASGI application: routes of all API families, keys, errors in each family's format, and a log without texts."""

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
# a refusal → the status and the body of the response, in the format of an API family
ErrorRenderer = Callable[[Refusal], tuple[int, Any]]


@dataclass(frozen=True)
class PostRoute:
    """A route with a JSON body: the body's type, the function that replies, and the format of errors."""

    path: str
    shape: type
    reply: Callable[[Exchange, Any], Awaitable[Any]]
    render_error: ErrorRenderer
    methods: ClassVar = ("POST",)


@dataclass(frozen=True)
class GetRoute:
    """A route without a body; ``public``: it needs no key; ``media_types``: those of its replies."""

    path: str
    reply: Callable[[Service, Metrics], Awaitable[Any]]
    render_error: ErrorRenderer
    public: bool = False
    media_types: tuple[str, ...] = ("application/json",)
    methods: ClassVar = ("GET", "HEAD")


class Application(Router):
    """The ASGI application; with ``keys``, clients must send one of them.

    ``on_request`` is called with each request's log record and its headers.
    """

    def __init__(
        self,
        service: Service,
        metrics: Metrics,
        routes: Sequence[PostRoute | GetRoute],
        keys: Sequence[str] = (),
        on_request: Callable[[Mapping[str, Any], Mapping[str, str]], None] | None = None,
    ) -> None:
        # paths have no parameters, so a dict replaces Starlette's routes, which are matched one by one
        super().__init__(default=self._respond, redirect_slashes=False, lifespan=self._running)
        self.metrics = metrics
        self._service, self._keys, self._on_request = service, tuple(key.encode() for key in keys), on_request
        self._routes: dict[str, dict[str, PostRoute | GetRoute]] = {}
        for route in routes:
            self._routes.setdefault(route.path, {}).update(dict.fromkeys(route.methods, route))

    @asynccontextmanager
    async def _running(self, _: Any) -> AsyncIterator[None]:
        await self._service.warm_up(self._service.models.values())
        gc.collect()
        gc.freeze()  # what exists now stays alive: collections need not scan it
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
        if isinstance(route, PostRoute):
            response = await self._handle_post(request, route)
        elif route is not None:
            response = await self._handle_get(request, route)
        else:
            response = _no_route(request.method, ", ".join(methods))
        await response(scope, receive, send)

    async def _handle_post(self, request: Request, route: PostRoute) -> Response:
        exchange, refusal = Exchange(self._service, self.metrics, request, _host(request)), None
        try:
            response = await self._reply(exchange, request, route)
        except Exception as error:
            refusal = _to_refusal(error, f"request {exchange.id}")
            response = _error_response(refusal, route.render_error)
        response.raw_headers += [(name.encode(), value.encode()) for name, value in exchange.headers().items()]
        exchange.end(None if refusal is None else refusal.kind.failure)
        is_logged = logger.isEnabledFor(logging.INFO)
        if is_logged or self._on_request is not None:
            record = _log_record(exchange, route.path, response.status_code)
            if self._on_request is not None:
                self._on_request(record, request.headers)
            if is_logged:
                logger.info(msgspec.json.encode(record).decode())
        return response

    async def _reply(self, exchange: Exchange, request: Request, route: PostRoute) -> Response:
        exchange.client, seconds = self._authenticate(request), exchange.deadline
        body = await exchange.read(route.shape)
        with self._service.admitted():
            found = await exchange.until_disconnect(seconds, route.reply(exchange, body))
            if isinstance(found, Response):
                return found
            # encoding a long reply would hold up the event loop
            response: Response = await self._service.reader.run(_json_response, found, characters=exchange.characters)
            return response

    async def _handle_get(self, request: Request, route: GetRoute) -> Response:
        try:
            if not route.public:
                self._authenticate(request)
            found = await route.reply(self._service, self.metrics)
        except Exception as error:
            return _error_response(_to_refusal(error, f"GET {route.path}"), route.render_error)
        return found if isinstance(found, Response) else _json_response(found)

    def _authenticate(self, request: Request) -> str:
        """Return the client's identity: its key if keys are required, else its address.

        Every key is compared, in constant time.
        """
        if not self._keys:
            return _host(request)
        given = dict(request.scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        matches = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        if scheme.lower() != b"bearer" or not any(matches):
            raise Refusal(UNAUTHORIZED, "The API key is missing or wrong; send Authorization: Bearer KEY.")
        return f"key {matches.index(True)}"


def _host(request: Request) -> str:
    return request.client.host if request.client else ""


def _json_response(value: Any) -> Response:
    return Response(json_of(value), media_type="application/json")


def _to_refusal(error: Exception, what: str) -> Refusal:
    """Return what the client learns of an error; the details of an internal one go to the log only."""
    refusal = refusal_of(error)
    if refusal is None:
        logger.error("%s failed", what, exc_info=error)
        refusal = Refusal(BACKEND, "The request failed; the reason is in the server's log.")
    return refusal


def _error_response(refusal: Refusal, render_error: ErrorRenderer) -> Response:
    status, body = render_error(refusal)
    response = Response(status_code=status) if refusal.kind is GONE else JSONResponse(body, status)
    if refusal.kind is UNAUTHORIZED:
        response.headers["www-authenticate"] = "Bearer"
    if refusal.retry_after is not None:
        response.headers["retry-after"] = str(refusal.retry_after)
    return response


def _no_route(method: str, allowed: str) -> Response:
    message, status, headers = "There is nothing at this path.", 404, None
    if allowed:
        message, status, headers = f"This path takes {allowed}, not {method}.", 405, {"allow": allowed}
    return JSONResponse({"error": message, "error_type": "Validation"}, status, headers)


def _log_record(exchange: Exchange, path: str, status: int) -> dict[str, Any]:
    """Return what is logged about a request: nothing of its texts."""
    return {
        "event": "request",
        "id": exchange.id,
        "path": path,
        "status": status,
        "ms": round((monotonic() - exchange.began) * 1000, 3),
        "model": exchange.model,
        "inputs": sum(len(answers.values) for answers in exchange.answers),
        "tokens": exchange.tokens,
        "cut": sum(sum(answers.truncated) for answers in exchange.answers),
    }
