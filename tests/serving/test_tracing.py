"""Spans of requests and steps; without a collector, OpenTelemetry is not imported."""

import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.serving.conftest import Process

from bertie.serving.served_model import ServedModel
from bertie.serving.server_process import make_service
from bertie.serving.service import Limits

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_span_for_each_request_and_step(folders: dict[str, Path]) -> None:
    exporting = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from bertie.serving.tracing import Tracing

    exporter = exporting.InMemorySpanExporter()
    tracing = Tracing(exporter)
    _, app = make_service([ServedModel.open(str(folders["vectors"]))], Limits(), (), tracing)
    with TestClient(app) as client:
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "x-request-id": "mine"}
        client.post("/embed", json={"inputs": ["a private text", "b"]}, headers=headers)
        client.post("/embed", json={"inputs": []})
    tracing.close()
    spans = exporter.get_finished_spans()
    asked = [span for span in spans if span.name == "POST /embed"]
    assert [span.attributes["http.response.status_code"] for span in asked] == [200, 400]
    assert f"{asked[0].context.trace_id:032x}" == TRACE
    assert (asked[0].attributes["bertie.id"], asked[0].attributes["bertie.inputs"]) == ("mine", 2)
    steps = [span for span in spans if span.name == "step"]
    assert steps[-1].attributes["bertie.rows"] == 2
    assert all(span.start_time < span.end_time for span in spans)
    assert not any("private" in str(span.attributes) for span in spans)


def test_spans_reach_a_collector_before_the_end(process: Callable[..., Process], folders: dict[str, Path]) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.path.encode() + self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        running = process(str(folders["vectors"]), "--otlp-endpoint", endpoint)
        assert running.post("/embed", {"inputs": "a"}).status_code == 200
        assert running.end()[0] == 0
        collector.shutdown()
    assert any(body.startswith(b"/v1/traces") and b"POST /embed" in body for body in received)


def test_nothing_is_imported_without_a_collector() -> None:
    code = "import bertie.serving.server_process, sys; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
