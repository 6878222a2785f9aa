"""OpenTelemetry: a span for each request and each step. Imported only if a collector is named (``bertie[otel]``)."""

from collections.abc import Mapping
from time import time_ns
from typing import Any

from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from bertie.serving.scheduler import Step


class Tracing:
    """Records spans of finished requests and steps; a background thread passes them to ``exporter``."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": "bertie"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("bertie.serving")

    @classmethod
    def to(cls, endpoint: str) -> "Tracing":
        """Return a tracer for a collector that takes OTLP over HTTP, such as ``http://localhost:4318``."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return cls(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))

    def on_request(self, record: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Record a span for a request from its log record, in the trace that its headers name."""
        end, path, status = time_ns(), record["path"], record["status"]
        span = self._tracer.start_span(
            f"POST {path}",
            context=extract(headers),
            kind=SpanKind.SERVER,
            start_time=end - int(record["ms"] * 1e6),
            attributes={f"bertie.{name}": value for name, value in record.items() if name != "event"}
            | {"http.request.method": "POST", "http.route": path, "http.response.status_code": status},
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def on_step(self, step: Step) -> None:
        """Record a span for a step."""
        end = time_ns()
        attributes = {"bertie.rows": step.rows, "bertie.tokens": step.tokens}
        span = self._tracer.start_span("step", start_time=end - int(step.seconds * 1e9), attributes=attributes)
        span.end(end)

    def close(self) -> None:
        """Flush the remaining spans."""
        self._provider.shutdown()
