"""Spans for OpenTelemetry, where its own variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, …) ask for them.

Where they do not, nothing of it is imported and a span is nothing. Spans carry names, numbers and the text of
statements; never variables, arguments, or what an error says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

__all__ = ["ENDPOINTS", "asked_for", "begin", "enabled", "span", "watch"]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
MOST_LETTERS = 2_000
"""Of the text of a statement."""

_tracer: Any = None


def asked_for(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment says where spans go."""
    off = env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(env.get(name) for name in ENDPOINTS)


def begin(version: str) -> Callable[[], None]:
    """Send spans from now on; what is returned sends the last of them. ImportError without the extra ``otel``."""
    global _tracer
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", "siyu")
    resource = Resource.create({"service.name": name, "service.version": version, "process.pid": os.getpid()})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("siyu", version)
    return provider.shutdown


def enabled() -> bool:
    """Whether spans are sent."""
    return _tracer is not None


def span(
    name: str,
    kind: Literal["internal", "server", "consumer"] = "internal",
    carrier: Mapping[str, str] | None = None,
    attributes: Mapping[str, str | int] | None = None,
) -> AbstractContextManager[Any]:
    """A span for the block; of the trace that the headers in ``carrier`` speak of, if they do."""
    return nullcontext() if _tracer is None else _span(name, kind, carrier, attributes or {})


@contextmanager
def _span(name: str, kind: str, carrier: Mapping[str, str] | None, attributes: Mapping[str, Any]) -> Iterator[Any]:
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind, StatusCode

    with _tracer.start_as_current_span(
        name,
        context=extract(carrier) if carrier else None,
        kind=SpanKind[kind.upper()],
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_status(StatusCode.ERROR, type(error).__name__)
            raise


async def watch(connection: Any) -> None:
    """Have a span for each statement of a connection of asyncpg."""
    connection.add_query_logger(_statement)


def _statement(record: Any) -> None:
    """It is told of afterwards, in the context of whoever sent it."""
    from opentelemetry.trace import SpanKind, StatusCode, get_current_span

    if not get_current_span().get_span_context().is_valid:
        return  # the queue is looked at a hundred times a second, and the pool has its own statements
    now = time.time_ns()
    began = now - int(record.elapsed * 1e9)
    text = record.query.strip()
    made = _tracer.start_span(
        text.split(None, 1)[0].upper() if text else "SQL",
        kind=SpanKind.CLIENT,
        start_time=began,
        attributes={"db.system.name": "postgresql", "db.query.text": text[:MOST_LETTERS]},
    )
    if record.exception is not None:
        made.set_status(StatusCode.ERROR, type(record.exception).__name__)
    made.end(end_time=now)
