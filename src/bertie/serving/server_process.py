"""The process that serves: a socket, an event loop, and a calm end, in which accepted requests are answered."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from bertie.errors import InputError
from bertie.serving.cohere_routes import ROUTES as COHERE
from bertie.serving.http_app import make_app
from bertie.serving.openai_routes import ROUTES as OPENAI
from bertie.serving.patient_protocol import PatientProtocol
from bertie.serving.playground import ROUTES as PLAYGROUND
from bertie.serving.served_model import ServedModel
from bertie.serving.service import Limits, Service
from bertie.serving.service_metrics import Metrics
from bertie.serving.task_routes import ROUTES as TASKS
from bertie.serving.tei_routes import ROUTES as TEI
from bertie.serving.vllm_routes import ROUTES as VLLM

ROUTES = (*PLAYGROUND, *TEI, *OPENAI, *COHERE, *VLLM, *TASKS)


class _Server(uvicorn.Server):
    """A server that tells its service when it is to end."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._service.draining = True
        super().handle_exit(sig, frame)

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            host = f"[{host}]" if ":" in host else host
            names = ", ".join(f"{name} ({', '.join(model.tasks)})" for name, model in self._service.models.items())
            print(f"bertie: serving {names} at http://{host}:{port}", file=sys.stderr, flush=True)


def make_service(models: Sequence[ServedModel], limits: Limits, keys: Sequence[str] = ()) -> tuple[Service, Any]:
    """Return the service, and the ASGI application with all its routes."""
    metrics = Metrics()
    service = Service(models, limits, metrics.on_step)
    return service, make_app(service, metrics, ROUTES, keys)


def serve(models: Sequence[ServedModel], host: str, port: int, keys: Sequence[str], limits: Limits, log: bool) -> None:
    """Serve models until SIGTERM or Ctrl-C; then accept nothing more, answer what was accepted, and return.

    Raises:
        InputError: two models have the same name, or the address cannot be had.
    """
    service, app = make_service(models, limits, keys)
    _log_to_stderr(logging.INFO if log else logging.WARNING)
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(limits.seconds) + 5,
    )
    with _listening(host, port) as listener, _signals_end_calmly():
        _Server(config, service).run([listener])


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, which uvicorn would refuse in words of its own."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2_048)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise InputError(
            f"Port {port} of {host} cannot be opened: {reason}; choose another --port or --host."
        ) from error


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
