"""An application whose own span processor and exporter redact: they must have the last word."""

from __future__ import annotations

from collections.abc import Sequence

from celery import Task
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from otel_taskqueue.celery import CeleryInstrumentor
from support.apps.celery_app import app, attempt, tracer

__all__ = ["app"]

CARD = "4111111111111111"
PIN = "pin-9876"


class RedactingProcessor(SpanProcessor):
    """Rewrites finished spans, by the private door that applications use for it."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take card numbers out and leave a mark."""
        attributes = dict(span.attributes or {})
        if "card" in attributes:
            attributes["card"] = "redacted"
        attributes["seen.by.processor"] = True
        span._attributes = attributes  # type: ignore[assignment]


class RedactingExporter(OTLPSpanExporter):
    """Drops spans that hold a PIN."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export what may leave."""
        return super().export([span for span in spans if "pin" not in (span.attributes or {})])


provider = TracerProvider()
# The order is the hard one: the exporting processor comes first.
provider.add_span_processor(BatchSpanProcessor(RedactingExporter()))
provider.add_span_processor(RedactingProcessor())
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()


@app.task(bind=True, name="support.apps.pay")
def pay(self: Task, kill: bool = False) -> None:
    """Record what must not leave."""
    attempt(self)
    with tracer.start_as_current_span("charge") as span:
        span.set_attribute("card", CARD)
    with tracer.start_as_current_span("ask for the pin") as span:
        span.set_attribute("pin", PIN)
    trace.get_current_span().set_attribute("card", CARD)
    if kill:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
