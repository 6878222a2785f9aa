"""The ASGI application: routes of all families, keys, errors in each family's shape, and a log without texts."""

import asyncio
import gc
import hmac
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from bertie.serving.exchange import Exchange
from bertie.serving.refusals import BACKEND, GONE, LATE, SLOW, UNAUTHORIZED, Refusal, refusal_of
from bertie.serving.replies import Receive, Reply, Scope, Send, reply_of
from bertie.serving.service import Service
from bertie.serving.service_metrics import Metrics

logger = logging.getLogger("bertie.serving")
# a refusal → the body that tells it, in the shape of a family of clients, and the status
Telling = Callable[[Refusal], tuple[int, Any]]
Headers = Mapping[bytes, bytes]


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


class Application:
    """What the server calls; with ``keys``, only who has one of them is answered.

    ``on_request`` is called with what the log says of each request, and its headers.
    """

    def __init__(
        self,
        service: Service,
        metrics: Metrics,
        routes: Sequence[Posted | Asked],
        keys: Sequence[str] = (),
        on_request: Callable[[Mapping[str, Any], Headers], None] | None = None,
    ) -> None:
        self.metrics = metrics
        self._service, self._keys, self._on_request = service, tuple(key.encode() for key in keys), on_request
        self._routes: dict[str, dict[str, Posted | Asked]] = {}
        for route in routes:
            self._routes.setdefault(route.path, {}).update(dict.fromkeys(route.methods, route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._respond(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Make everything ready, and end it when the server ends."""
        await receive()
        try:
            await self._service.warm_up(self._service.models.values())
        except Exception:
            await send({"type": "lifespan.startup.failed", "message": traceback.format_exc()})
            raise
        gc.collect()
        gc.freeze()  # what is there now stays, and need not be looked through again and again
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._service.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")), scope["method"]
        methods = self._routes.get(path.rstrip("/") or "/", {})
        route = methods.get(method)
        if isinstance(route, Posted):
            await self._post(scope, receive, send, route)
        elif route is not None:
            await (await self._reply_to_asked(scope, route)).send(send)
        else:
            await _nothing_there(method, ", ".join(methods)).send(send)

    async def _post(self, scope: Scope, receive: Receive, send: Send, route: Posted) -> None:
        headers = dict(scope["headers"])
        exchange, refusal = Exchange(self._service, self.metrics, headers), None
        try:
            reply = await self._reply_to_posted(exchange, scope, receive, route)
        except asyncio.CancelledError:
            self._note(exchange, headers, route.path, GONE.status, GONE.failure)
            raise
        except Exception as error:
            refusal = _told(error, f"request {exchange.id}")
            reply = _refused(refusal, route.telling)
        self._note(exchange, headers, route.path, reply.status, None if refusal is None else refusal.kind.failure)
        await reply.send(send, exchange.headers())

    async def _reply_to_posted(self, exchange: Exchange, scope: Scope, receive: Receive, route: Posted) -> Reply:
        exchange.client, seconds = self._checked(scope), exchange.deadline
        asked = None
        try:
            async with asyncio.timeout(seconds):
                asked = await exchange.read(receive, route.shape)
                with self._service.admitted():
                    return reply_of(await route.reply(exchange, asked))
        except TimeoutError as error:
            if asked is None:
                raise Refusal(SLOW, "The body did not come in time.") from error
            raise Refusal(LATE, f"The answer was not there within {seconds:g} seconds.") from error

    async def _reply_to_asked(self, scope: Scope, route: Asked) -> Reply:
        try:
            if not route.public:
                self._checked(scope)
            return reply_of(await route.reply(self._service, self.metrics))
        except Exception as error:
            return _refused(_told(error, f"GET {route.path}"), route.telling)

    def _checked(self, scope: Scope) -> str:
        """Return who asks: by the key where there are keys, else by the address.

        All keys are compared, each in a time that does not depend on what was sent.
        """
        if not self._keys:
            return scope["client"][0] if scope.get("client") else ""
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        equal = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        if scheme.lower() != b"bearer" or not any(equal):
            raise Refusal(UNAUTHORIZED, "The API key is missing or wrong; send Authorization: Bearer KEY.")
        return f"key {equal.index(True)}"

    def _note(self, exchange: Exchange, headers: Headers, path: str, status: int, failure: str | None) -> None:
        """Count a request, log it, and hand it on."""
        self.metrics.on_request("single" if exchange.num_inputs == 1 else "batch", failure)
        is_logged = logger.isEnabledFor(logging.INFO)
        if is_logged or self._on_request is not None:
            told = exchange.summary(path, status)
            if self._on_request is not None:
                self._on_request(told, headers)
            if is_logged:
                logger.info(msgspec.json.encode(told).decode())


def _told(error: Exception, what: str) -> Refusal:
    """Return what the client learns of an error; a fault of the program is logged, and described to nobody."""
    refusal = refusal_of(error)
    if refusal is None:
        logger.error("%s failed", what, exc_info=error)
        refusal = Refusal(BACKEND, "The request failed for a reason that is in the server's log.")
    return refusal


def _refused(refusal: Refusal, telling: Telling) -> Reply:
    if refusal.kind is GONE:
        return Reply(status=GONE.status)
    wait = [] if refusal.retry_after is None else [(b"retry-after", b"%d" % refusal.retry_after)]
    status, body = telling(refusal)
    return reply_of(body, status, wait)


def _nothing_there(method: str, allowed: str) -> Reply:
    said, status, headers = "There is nothing at this path.", 404, []
    if allowed:
        said, status = f"This path takes {allowed}, and was asked with {method}.", 405
        headers = [(b"allow", allowed.encode())]
    return reply_of({"error": said, "error_type": "Validation"}, status, headers)
