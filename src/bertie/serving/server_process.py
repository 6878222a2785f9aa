"""The server process: a socket, an event loop, and a graceful shutdown that answers the requests already accepted."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any

import uvicorn

from bertie.errors import InputError, in_python, spelling
from bertie.extras import need
from bertie.serving.cohere_routes import ROUTES as COHERE
from bertie.serving.generate_routes import ROUTES as GENERATE
from bertie.serving.hardened_protocol import ACCEPTED_AT_ONCE, HardenedProtocol, allow_connections
from bertie.serving.http_app import Application
from bertie.serving.openai_routes import ROUTES as OPENAI
from bertie.serving.openapi import route_of
from bertie.serving.playground import ROUTES as PLAYGROUND
from bertie.serving.scheduler import Step
from bertie.serving.served_model import ServedModel
from bertie.serving.service import Limits, Service
from bertie.serving.service_metrics import Metrics
from bertie.serving.task_routes import ROUTES as TASKS
from bertie.serving.tei_routes import ROUTES as TEI
from bertie.serving.vllm_routes import ROUTES as VLLM
from bertie.serving.worker_processes import WorkerProcesses, WorkerSlot, block_sighup, reloads_on_sighup

if TYPE_CHECKING:
    from bertie.serving.tracing import Tracing

# pending connections that a socket may hold
BACKLOG = 2_048
ROUTES = (*PLAYGROUND, *TEI, *OPENAI, *COHERE, *VLLM, *TASKS, *GENERATE)


@dataclass(frozen=True)
class Settings:
    """Everything that a server process needs to know."""

    models: tuple[str, ...]  # folders or names, as `ServedModel.open` takes them
    limits: Limits
    keys: tuple[str, ...] = ()  # if any, clients must send one of them
    device: str | None = None
    batch_tokens: int | None = None
    log: bool = True  # whether each request is logged
    otlp_endpoint: str | None = None  # the OpenTelemetry collector that receives the spans
    announce: bool = True  # whether to print the address


def serve(settings: Settings, host: str, port: int, workers: int = 1) -> int:
    """Serve models until SIGTERM or Ctrl-C; then accept nothing more, answer what was accepted, and return.

    SIGHUP reloads the models. Returns the exit code: above 0 if one of several processes failed.
    """
    if workers == 1:
        _serve_at(settings, lambda: _listen(host, port), WorkerSlot(0, [0.0]))
        return 0
    _log_to_stderr(logging.ERROR)
    with ExitStack() as stack:
        listeners = [stack.enter_context(one) for one in _listen_on_shared_port(host, port, workers)]
        return WorkerProcesses(partial(_serve_in_worker, settings), listeners).run()


def make_service(
    models: Sequence[ServedModel],
    limits: Limits,
    keys: Sequence[str] = (),
    tracing: "Tracing | None" = None,
    metrics: Metrics | None = None,
) -> tuple[Service, Application]:
    """Return the service, and the ASGI application with all its routes."""
    metrics = metrics or Metrics()

    def on_step(step: Step) -> None:
        metrics.on_step(step)
        if tracing is not None:
            tracing.on_step(step)

    service = Service(models, limits, on_step)
    on_request = None if tracing is None else tracing.on_request
    return service, Application(service, metrics, (*ROUTES, route_of(ROUTES, bool(keys))), keys, on_request)


class _Server(uvicorn.Server):
    """A server that prints its address once all processes serve, and tells its service when to drain."""

    def __init__(self, config: uvicorn.Config, service: Service, slot: WorkerSlot, announce: bool) -> None:
        super().__init__(config)
        self._service, self._slot, self._parent = service, slot, parent_process()
        self._announced = slot.number != 0 or not announce
        self._reloading: asyncio.Future[None] | None = None
        self._changed = False  # whether files may have changed since the last reload started

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._service.draining = True
        self._slot.leave()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)  # asyncio takes one number for this queue and for the accepts per turn
        if reloads_on_sighup():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._note_change)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])

    def _note_change(self) -> None:
        self._changed = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.ensure_future(self._reload())

    async def _reload(self) -> None:
        while self._changed:
            self._changed = False
            await self._service.reload()

    async def on_tick(self, counter: int) -> bool:
        if not self.should_exit:
            self._slot.beat()
        if self._parent is not None and not self._parent.is_alive():
            self.should_exit = self._service.draining = True  # an orphan would never be told to stop
        if not self._announced and self._slot.all_serving:
            self._announced = True
            self._announce()
        return await super().on_tick(counter)

    def _announce(self) -> None:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        names = ", ".join(f"{name} ({', '.join(model.tasks)})" for name, model in self._service.models.items())
        print(f"bertie: serving {names} at http://{host}:{port}", file=sys.stderr, flush=True)


def _serve_in_worker(settings: Settings, listener: socket.socket, slot: WorkerSlot) -> None:
    _serve_at(settings, lambda: listener, slot)


def _serve_at(settings: Settings, listen: Any, slot: WorkerSlot) -> None:
    """Load the models, then serve on the socket that ``listen`` returns."""
    block_sighup()
    opened = [ServedModel.open(model, settings.device, settings.batch_tokens) for model in settings.models]
    tracing = _tracing_to(settings.otlp_endpoint) if settings.otlp_endpoint else None
    service, app = make_service(opened, settings.limits, settings.keys, tracing, Metrics(slot.counts, slot.number))
    # here, because uvicorn would print a traceback if a model failed
    asyncio.run(service.warm_up(service.models.values()))
    allow_connections()
    service.is_complete = lambda: slot.all_serving
    _log_to_stderr(logging.INFO if settings.log else logging.WARNING)

    async def note_load() -> None:
        app.metrics.note_load(service.waiting, service.in_flight)

    config = uvicorn.Config(
        app,
        http=HardenedProtocol,
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        backlog=ACCEPTED_AT_ONCE,
        callback_notify=note_load,
        timeout_notify=1,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.limits.seconds) + 5,
    )
    # errors name JSON fields, not command-line options
    with listen() as listener, _without_reraised_signals(), spelling(in_python):
        _Server(config, service, slot, settings.announce).run([listener])
    if tracing is not None:
        tracing.close()


def _tracing_to(endpoint: str) -> "Tracing":
    need("opentelemetry.exporter.otlp.proto.http", "otel", "--otlp-endpoint")
    from bertie.serving.tracing import Tracing

    return Tracing.to(endpoint)


def _listen(host: str, port: int, **shared: bool) -> socket.socket:
    """Return a listening socket; uvicorn's own error would be a traceback."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG, **shared)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise InputError(
            f"Port {port} of {host} cannot be opened: {reason}; choose another --port or --host."
        ) from error


def _listen_on_shared_port(host: str, port: int, count: int) -> list[socket.socket]:
    """Return sockets among which the system distributes the connections to one port."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise InputError("This system cannot share a port among processes (SO_REUSEPORT); leave out --workers.")
    with _listen(host, port) as exclusive:  # SO_REUSEPORT would silently share a port that another program has
        port = exclusive.getsockname()[1]
    return [_listen(host, port, reuse_port=True) for _ in range(count)]


@contextmanager
def _without_reraised_signals() -> Iterator[None]:
    """Let uvicorn return, where it would raise once more the signal that ended it."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("bertie.serving")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
