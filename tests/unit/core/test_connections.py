"""A forked process that exports by itself connects anew: what it inherited is the parent's."""

from __future__ import annotations

from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_taskqueue.core.sdk import connections
from support.otlp import Receiver


def test_an_inherited_connection_is_neither_used_nor_closed(receiver: Receiver) -> None:
    """Spans go through a new one; the old one stays as it is, whoever has its descriptor by now."""
    session = requests.Session()
    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"{receiver.endpoint}/v1/traces", session=session)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _span(provider, "before")
    (inherited,) = _open(session, receiver)
    connections.renew([provider])
    assert _open(session, receiver) == []
    _span(provider, "after")
    assert {span.name for span in receiver.spans()} == {"before", "after"}
    assert inherited not in _open(session, receiver)
    assert inherited.fileno() >= 0
    provider.shutdown()


def test_exporters_of_metrics_are_found_behind_their_readers(receiver: Receiver) -> None:
    """Theirs is another session."""
    session = requests.Session()
    exporter = OTLPMetricExporter(f"{receiver.endpoint}/v1/metrics", session=session)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    provider.get_meter("shop").create_counter("orders").add(1)
    provider.force_flush()
    assert len(_open(session, receiver)) == 1
    connections.renew([provider])
    assert _open(session, receiver) == []
    provider.shutdown()


def _span(provider: TracerProvider, name: str) -> None:
    provider.get_tracer("shop").start_span(name).end()
    provider.force_flush()


def _open(session: requests.Session, receiver: Receiver) -> list[Any]:
    """The sockets that the session would use for its next request."""
    pools = session.get_adapter(receiver.endpoint).poolmanager.pools
    connections_ = [each for key in pools.keys() for each in pools[key].pool.queue]  # noqa: SIM118  no mapping
    return [each.sock for each in connections_ if each is not None and each.sock is not None]
