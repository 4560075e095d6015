"""A relaying parent and a child's channel into it."""

from __future__ import annotations

import logging
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


@pytest.fixture(autouse=True)
def _libraries_loggers_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has imported Celery or RQ in this process may have left their loggers otherwise."""
    for name in ("celery", "celery.task", "rq", "rq.worker"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "disabled", False)
        monkeypatch.setattr(logger, "propagate", True)
        monkeypatch.setattr(logger, "parent", logging.getLogger(name.rpartition(".")[0]))
        logger.setLevel(logging.NOTSET)


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


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What is logged on the logger of the package."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("otel_taskqueue").addHandler(handler)
    yield messages
    logging.getLogger("otel_taskqueue").removeHandler(handler)
