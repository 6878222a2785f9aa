"""``bertie serve``: models over HTTP."""

import math
from typing import Annotated

import typer
from typer import Argument, Option

from bertie.cli import options
from bertie.errors import InputError
from bertie.progress import lines
from bertie.serving import KEYS, check_extra, read_keys


def serve(
    models: Annotated[list[str], Argument(help="Folders or hub names; NAME=FOLDER gives a model a name.")],
    host: Annotated[str, Option(help="The address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, Option("--port", "-p", min=0, max=65_535, help="0 picks a free one.")] = 8_080,
    api_key: Annotated[
        list[str] | None,
        Option(help=f"A key that requests must send; may be repeated, or given in {KEYS}, separated by commas."),
    ] = None,
    device: options.Device = None,
    max_batch_tokens: Annotated[
        int | None, Option(min=1, help="Tokens computed at a time; the default suits the device.")
    ] = None,
    workers: Annotated[
        int,
        Option("--workers", "-w", min=1, help="Processes on the port, each with all models and a share of the cores."),
    ] = 1,
    max_concurrent_requests: Annotated[int, Option(min=1, help="Further requests are refused.")] = 512,
    max_client_batch_size: Annotated[int, Option(min=1, help="Texts in one request.")] = 2_048,
    max_body: Annotated[int, Option(min=1, help="Bytes of a request's body.")] = 10_000_000,
    timeout: Annotated[float, Option(min=0.001, help="Seconds that a request may take.")] = 60.0,
    otlp_endpoint: Annotated[
        str | None, Option(help="An OpenTelemetry collector, such as http://localhost:4318.")
    ] = None,
    log_requests: Annotated[
        bool, Option("--log-requests/--no-log-requests", help="Log each request as a line of JSON, without its texts.")
    ] = True,
) -> None:
    """Serve models over HTTP, with the APIs that existing clients use.

    A model's head decides which requests it answers. SIGTERM ends the server once the accepted requests are answered;
    SIGHUP reloads the models, and where that fails, the old one goes on serving.
    """
    check_extra()
    keys = read_keys(api_key or [])
    if not math.isfinite(timeout):
        raise InputError(f"--timeout is {timeout}; give seconds, such as 60.")
    if otlp_endpoint is not None and not otlp_endpoint.startswith(("http://", "https://")):
        raise InputError(f"--otlp-endpoint is {otlp_endpoint!r}; give an address such as http://localhost:4318.")
    from bertie.serving.server_process import Settings
    from bertie.serving.server_process import serve as run
    from bertie.serving.service import Limits

    log = log_requests and not lines.disabled
    limits = Limits(max_concurrent_requests, max_client_batch_size, body=max_body, seconds=timeout)
    settings = Settings(
        *(tuple(models), limits, tuple(keys), device, max_batch_tokens, log, otlp_endpoint, not lines.disabled)
    )
    if code := run(settings, host, port, workers):
        raise typer.Exit(code)
