"""The process that serves: a socket, an event loop, and a calm end, in which accepted requests are answered."""

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
from bertie.serving.http_app import Application
from bertie.serving.openai_routes import ROUTES as OPENAI
from bertie.serving.openapi import route_of
from bertie.serving.patient_protocol import ACCEPTED_AT_ONCE, PatientProtocol, allow_connections
from bertie.serving.playground import ROUTES as PLAYGROUND
from bertie.serving.scheduler import Step
from bertie.serving.served_model import ServedModel
from bertie.serving.service import Limits, Service
from bertie.serving.service_metrics import Metrics
from bertie.serving.task_routes import ROUTES as TASKS
from bertie.serving.tei_routes import ROUTES as TEI
from bertie.serving.vllm_routes import ROUTES as VLLM
from bertie.serving.worker_processes import Seat, WorkerProcesses, hold_hangups, reloads_on_hangup

if TYPE_CHECKING:
    from bertie.serving.tracing import Tracing

# connections that may wait to be accepted
BACKLOG = 2_048
ROUTES = (*PLAYGROUND, *TEI, *OPENAI, *COHERE, *VLLM, *TASKS, *GENERATE)


@dataclass(frozen=True)
class Settings:
    """What is served, and to whom: all that a process needs to know."""

    models: tuple[str, ...]  # folders or names, as `ServedModel.open` takes them with the device and tokens of a batch
    limits: Limits
    keys: tuple[str, ...] = ()  # of which clients must send one, if there are any
    device: str | None = None
    batch_tokens: int | None = None
    log: bool = True  # whether each request is logged
    otlp_endpoint: str | None = None  # the OpenTelemetry collector that spans are sent to
    announce: bool = True  # whether it is said where it serves


def serve(settings: Settings, host: str, port: int, workers: int = 1) -> int:
    """Serve models until SIGTERM or Ctrl-C; then accept nothing more, answer what was accepted, and return.

    SIGHUP reads the models anew. Returns the exit code: above 0 if a process of several failed.
    """
    if workers == 1:
        _serve_at(settings, lambda: _listening(host, port), Seat(0, [0.0]))
        return 0
    _log_to_stderr(logging.ERROR)
    with ExitStack() as stack:
        listeners = [stack.enter_context(one) for one in _sharing_a_port(host, port, workers)]
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
    """A server that says where it listens once all processes do, and tells its service when it is to end."""

    def __init__(self, config: uvicorn.Config, service: Service, seat: Seat, announce: bool) -> None:
        super().__init__(config)
        self._service, self._seat, self._parent = service, seat, parent_process()
        self._announced = seat.number != 0 or not announce
        self._reloading: asyncio.Future[None] | None = None
        self._changed = False  # whether files may have changed since the models were last begun to be read

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._service.draining = True
        self._seat.leave()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)  # what uvicorn is told is taken for both
        if reloads_on_hangup():
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
            self._seat.beat()
        if self._parent is not None and not self._parent.is_alive():
            self.should_exit = self._service.draining = True  # nobody would ever end it
        if not self._announced and self._seat.all_taken:
            self._announced = True
            self._announce()
        return await super().on_tick(counter)

    def _announce(self) -> None:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        names = ", ".join(f"{name} ({', '.join(model.tasks)})" for name, model in self._service.models.items())
        print(f"bertie: serving {names} at http://{host}:{port}", file=sys.stderr, flush=True)


def _serve_in_worker(settings: Settings, listener: socket.socket, seat: Seat) -> None:
    _serve_at(settings, lambda: listener, seat)


def _serve_at(settings: Settings, listen: Any, seat: Seat) -> None:
    """Serve at the socket that ``listen`` gives when the models are open."""
    hold_hangups()
    opened = [ServedModel.open(model, settings.device, settings.batch_tokens) for model in settings.models]
    tracing = _tracing_to(settings.otlp_endpoint) if settings.otlp_endpoint else None
    service, app = make_service(opened, settings.limits, settings.keys, tracing, Metrics(seat.counts, seat.number))
    # uvicorn would show a traceback of what a model cannot compute
    asyncio.run(service.warm_up(service.models.values()))
    allow_connections()
    service.is_complete = lambda: seat.all_taken
    _log_to_stderr(logging.INFO if settings.log else logging.WARNING)

    async def note_load() -> None:
        app.metrics.note_load(service.waiting, service.in_flight)

    config = uvicorn.Config(
        app,
        http=PatientProtocol,
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
    # clients give fields of JSON, not options of the command that serves
    with listen() as listener, _signals_end_calmly(), spelling(in_python):
        _Server(config, service, seat, settings.announce).run([listener])
    if tracing is not None:
        tracing.close()


def _tracing_to(endpoint: str) -> "Tracing":
    need("opentelemetry.exporter.otlp.proto.http", "otel", "--otlp-endpoint")
    from bertie.serving.tracing import Tracing

    return Tracing.to(endpoint)


def _listening(host: str, port: int, **shared: bool) -> socket.socket:
    """Return a socket that listens, which uvicorn would refuse in words of its own."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG, **shared)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise InputError(
            f"Port {port} of {host} cannot be opened: {reason}; choose another --port or --host."
        ) from error


def _sharing_a_port(host: str, port: int, count: int) -> list[socket.socket]:
    """Return sockets among which the system divides the connections to one port."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise InputError("This system does not divide a port among processes; leave out --workers.")
    with _listening(host, port) as alone:  # one of another program could be shared without a word
        port = alone.getsockname()[1]
    return [_listening(host, port, reuse_port=True) for _ in range(count)]


@contextmanager
def _signals_end_calmly() -> Iterator[None]:
    """Let uvicorn, which raises the signal that ended it once more at the end, return instead."""
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
