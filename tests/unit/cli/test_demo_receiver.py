"""The demo's own collector speaks OTLP over HTTP."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_taskqueue.cli.demo.receiver import Receiver
from support.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that listens."""
    with Receiver() as listening:
        yield listening


def post(receiver: Receiver, path: str, body: bytes, headers: dict[str, str] | None = None) -> int:
    """Send like an exporter does; return the status."""
    request = urllib.request.Request(receiver.url + path, body, headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return answer.status


def trace_request() -> ExportTraceServiceRequest:
    """One span with all that the demo shows."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    span = group.scope_spans.add().spans.add(
        trace_id=b"\x01" * 16,
        span_id=b"\x02" * 8,
        parent_span_id=b"\x03" * 8,
        name="process charge",
        start_time_unix_nano=1000,
        end_time_unix_nano=3000,
    )
    span.status.code = span.status.STATUS_CODE_ERROR
    span.status.message = "no answer"
    span.attributes.add(key="count").value.int_value = 3
    span.attributes.add(key="list").value.array_value.values.add().string_value = "x"
    event = span.events.add(name="exception")
    event.attributes.add(key="exception.type").value.string_value = "Timeout"
    return request


def test_a_span_is_kept_with_all_its_parts(receiver: Receiver) -> None:
    """Ids as hex, attributes as plain values."""
    assert 200 == post(receiver, "/v1/traces", trace_request().SerializeToString())

    [span] = receiver.harvest.spans
    assert ("01" * 16, "02" * 8, "03" * 8) == (span.trace_id, span.span_id, span.parent_id)
    assert ("process charge", "shop", 1000, 3000) == (span.name, span.service, span.start, span.end)
    assert (True, "no answer") == (span.is_error, span.status)
    assert 3 == span.attributes["count"]
    assert isinstance(span.attributes["list"], str)
    event = span.event("exception")
    assert event is not None
    assert {"exception.type": "Timeout"} == event.attributes
    assert span.event("other") is None


def test_a_compressed_export_is_understood(receiver: Receiver) -> None:
    """Exporters may use gzip."""
    body = gzip.compress(trace_request().SerializeToString())

    assert 200 == post(receiver, "/v1/traces", body, {"Content-Encoding": "gzip"})
    assert ["process charge"] == [span.name for span in receiver.harvest.spans]


def test_a_log_record_is_kept(receiver: Receiver) -> None:
    """With the ids of the span that wrote it; the observed time stands in for a missing one."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    scope.scope.name = "orders"
    record = scope.log_records.add(
        trace_id=b"\x01" * 16, span_id=b"\x02" * 8, observed_time_unix_nano=5, severity_text="WARN"
    )
    record.body.string_value = "slow"

    assert 200 == post(receiver, "/v1/logs", request.SerializeToString())

    [line] = receiver.harvest.logs
    assert ("01" * 16, "02" * 8, 5, "WARN", "orders", "slow") == line


def test_metrics_are_accepted_and_passed_over(receiver: Receiver) -> None:
    """An application that exports metrics gets no errors."""
    assert 200 == post(receiver, "/v1/metrics", b"anything")


def test_what_is_no_otlp_is_refused(receiver: Receiver) -> None:
    """And the receiver goes on."""
    with pytest.raises(urllib.error.HTTPError, match="400"):
        post(receiver, "/v1/traces", b"\xff\xff\xff\xff")

    assert 200 == post(receiver, "/v1/traces", trace_request().SerializeToString())


def test_a_sender_that_is_killed_in_the_middle_is_no_news(
    receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    """The terminal belongs to the demo, and the receiver goes on."""
    before = threading.active_count()
    port = int(receiver.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as sender:
        sender.sendall(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")
        reset_at_close = struct.pack("ii", 1, 0)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_close)

    assert 200 == post(receiver, "/v1/traces", trace_request().SerializeToString())
    wait_for(lambda: threading.active_count() <= before, 5, "the broken connection's thread has ended")
    assert ("", "") == tuple(capfd.readouterr())


def test_waiting_ends_when_the_condition_holds_or_the_time_is_over(receiver: Receiver) -> None:
    """And says which of both it was."""
    assert not receiver.harvest.wait_for(lambda: bool(receiver.harvest.spans), 0.01)

    post(receiver, "/v1/traces", trace_request().SerializeToString())

    assert receiver.harvest.wait_for(lambda: bool(receiver.harvest.spans), 5)
