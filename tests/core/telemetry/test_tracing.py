"""Spans, as a real receiver of OTLP over HTTP gets them from a real server; and nothing where nobody asked."""

from __future__ import annotations

import gzip
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SIYU = Path(sys.executable).with_name("siyu")
TRACE = "0af7651916cd43dd8448eb211c80319c"
PHONE = "13912345678"


class Receiver(ThreadingHTTPServer):
    """Notes every span that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        super().__init__(("127.0.0.1", 0), Taking)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.services |= {
                a.value.string_value for a in resource.resource.attributes if a.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_request_its_operation_and_its_statements_are_one_trace(receiver: Receiver, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "SIYU_HOME": str(tmp_path / "home"),
        "SIYU_EMBEDDED_FSYNC": "off",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_SERVICE_NAME": "siyu-under-test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    subprocess.run([SIYU, "brand", "create", "shop", "--replay"], env=env, check=True, capture_output=True)
    with (tmp_path / "log").open("w") as out:
        process = subprocess.Popen([SIYU, "serve", "--port", address.split(":")[2]], env=env, stdout=out, stderr=out)
    try:
        made = subprocess.run(
            [SIYU, "token", "create", "--role", "admin"], env=env, check=True, capture_output=True, text=True
        )
        token = made.stdout.strip()
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            with suppress(httpx2.TransportError):
                if httpx2.get(f"{address}/readyz").status_code == 200:
                    break
            time.sleep(0.05)
        event = f'{{id: "1", kind: "order.paid", user: [{{kind: "phone", value: "{PHONE}"}}], payload: {{amount: 5}}}}'
        query = f'mutation Buy {{ recordEvents(brand: "shop", events: [{event}]) {{ accepted }} }}'
        headers = {"authorization": f"Bearer {token}", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        answer = httpx2.post(f"{address}/graphql", json={"query": query}, headers=headers)
        assert answer.json()["data"]["recordEvents"]["accepted"] == 1
        while time.monotonic() < deadline and not any(span.name == "job decide" for span in receiver.spans):
            time.sleep(0.05)
    finally:
        process.terminate()
        assert process.wait(30) == 0, (tmp_path / "log").read_text()

    assert receiver.services == {"siyu-under-test"}
    mine = [span for span in receiver.spans if span.trace_id.hex() == TRACE]
    [request] = [span for span in mine if span.name == "POST /graphql"]
    [operation] = [span for span in mine if span.name == "mutation Buy"]
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert operation.parent_span_id == request.span_id
    assert any(span.parent_span_id == operation.span_id and "event" in str(span) for span in mine), "its statements"
    shown = {a.key: a.value.string_value or a.value.int_value for a in request.attributes}
    assert shown["http.response.status_code"] == 200
    assert shown["request_id"] == answer.headers["x-request-id"]
    [decided] = [span for span in receiver.spans if span.name == "job decide"]
    assert any(span.parent_span_id == decided.span_id for span in receiver.spans)
    everything = str(receiver.spans)
    assert PHONE not in everything
    assert not re.search(r"siyu_[0-9a-f]{8}_", everything)
    assert (tmp_path / "log").read_text().count("\n") == 1, "one line: where it serves"


def test_where_nobody_asks_nothing_is_imported() -> None:
    program = (
        "import sys, siyu.cli, siyu_graphql\n"
        "from siyu.telemetry import tracing\n"
        "assert not tracing.asked_for({})\n"
        "with tracing.span('x') as nothing: assert nothing is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("env", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "siyu"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_say_whether_spans_are_sent(env: dict[str, str], asked: bool) -> None:
    from siyu.telemetry import tracing

    assert tracing.asked_for(env) == asked
