"""Ways in which an application sets its SDK up by hand; ``TASKQUEUE_TEST_SDK`` names one.

``opentelemetry-instrument`` is not used with them, as in an application that wants it its own way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

import otel_taskqueue

SDK = "TASKQUEUE_TEST_SDK"
FILE = "TASKQUEUE_TEST_FILE"
SECOND = "TASKQUEUE_TEST_SECOND"
SECRET = "4111-1111-1111-1111"


def file_exporter() -> SpanExporter:
    """Spans as JSON lines in a file."""
    out = Path(os.environ[FILE]).open("a", buffering=1)  # noqa: SIM115 - as long as the process
    return ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n")


def second_exporter() -> SpanExporter:
    """Another collector."""
    return OTLPSpanExporter(endpoint=os.environ[SECOND] + "/v1/traces")


class RedactingProcessor(SpanProcessor):
    """An application's own: hides card numbers in every span that ends."""

    def on_end(self, span: ReadableSpan) -> None:
        """Change the span before anybody exports it."""
        span._attributes = {k: hidden(v) for k, v in (span.attributes or {}).items()}


class RedactingExporter(OTLPSpanExporter):
    """An application's own: hides card numbers in what leaves."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Change the spans, then send them."""
        for span in spans:
            RedactingProcessor().on_end(span)
        return super().export(spans)


class OwnBatchProcessor(BatchSpanProcessor):
    """A subclass: what it does to a span must not be passed over."""

    def on_end(self, span: ReadableSpan) -> None:
        """Hide, then batch."""
        RedactingProcessor().on_end(span)
        super().on_end(span)


class RenamedHolder(SpanProcessor):
    """A future SDK that keeps its processors under another private name."""

    def __init__(self) -> None:
        self._inner = SynchronousMultiSpanProcessor()

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        self._inner.add_span_processor(span_processor)

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._inner.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        self._inner.on_end(span)

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)


def hidden(value: Any) -> Any:
    """Without the card number."""
    return value.replace(SECRET, "[hidden]") if isinstance(value, str) else value


def use(*processors: SpanProcessor) -> None:
    """Make a provider with these processors the global one."""
    provider = TracerProvider()
    for processor in processors:
        provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)


def batch() -> None:
    """The usual one."""
    use(BatchSpanProcessor(OTLPSpanExporter()))


def early() -> None:
    """The usual one, with an exporter that is connected before any child is forked."""
    batch()
    trace.get_tracer("shop").start_span("early").end()
    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]


def renamed() -> None:
    """The usual one, of an SDK whose private names we do not know."""
    sdk_trace.SynchronousMultiSpanProcessor = RenamedHolder
    batch()


def on_child_start() -> None:
    """The usual one, but only in the pool's children, with the instrumentation."""
    from celery.signals import worker_process_init

    def set_up(**_: Any) -> None:
        batch()
        otel_taskqueue.instrument()

    worker_process_init.connect(set_up, weak=False)


def sdk_on_child_start() -> None:
    """The SDK only in the pool's children, the instrumentation already in the parent."""
    from celery.signals import worker_process_init

    worker_process_init.connect(lambda **_: batch(), weak=False)


SETUPS: Mapping[str, Callable[[], None]] = {
    "batch": batch,
    "early": early,
    "simple file": lambda: use(SimpleSpanProcessor(file_exporter())),
    "batch file": lambda: use(BatchSpanProcessor(file_exporter())),
    "simple": lambda: use(SimpleSpanProcessor(OTLPSpanExporter())),
    "two": lambda: use(BatchSpanProcessor(second_exporter()), BatchSpanProcessor(OTLPSpanExporter())),
    "second at once": lambda: use(
        SimpleSpanProcessor(second_exporter()), BatchSpanProcessor(OTLPSpanExporter())
    ),
    "redacting processor": lambda: use(BatchSpanProcessor(OTLPSpanExporter()), RedactingProcessor()),
    "redacting exporter": lambda: use(BatchSpanProcessor(RedactingExporter())),
    "own batch processor": lambda: use(OwnBatchProcessor(OTLPSpanExporter())),
    "renamed": renamed,
    "all on child start": on_child_start,
    "sdk on child start": sdk_on_child_start,
}


def set_up() -> None:
    """Do what the environment says; nothing when it says nothing."""
    name = os.environ.get(SDK)
    if name is None:
        return
    SETUPS[name]()
    if name != "all on child start":
        otel_taskqueue.instrument()
