"""A relaying parent and a child's channel into it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_taskqueue.core import attempts, delivery, telemetry
from otel_taskqueue.core.relay.channel import Channel
from otel_taskqueue.core.relay.reader import Reader
from otel_taskqueue.core.sdk import providers
from support.relay_worker import Worker


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A relaying parent."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "parent"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    reader = Reader(providers.pipelines([provider]) or [])
    monkeypatch.setattr(delivery, "_reader", reader)
    attempts.forget()
    made = telemetry.make(tracer_provider=provider)
    yield Worker(provider, exporter, reader, Channel(reader.lanes), made)
    reader.stop()
    reader._thread.join(5)
    reader.lanes.close()
    attempts.forget()
