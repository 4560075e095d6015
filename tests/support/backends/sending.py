"""A client that sends numbered spans, log records and points to a collector, each until it was taken."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from support.wait import wait_for

COUNTER = "taskqueue.task.runs"
CONSUMER = 5
INFO = 9
TAKEN = 200


class Sender:
    """Sends to the OTLP/HTTP receiver at ``host:port``; ``sent`` counts what was taken of each signal."""

    def __init__(self, address: str, *, batch: int = 200) -> None:
        self._address = address
        self._batch = batch
        self.sent = 0
        self.refused = 0

    def send(self, count: int) -> None:
        """Send ``count`` spans, as many log records, a point for each batch; each until it is taken."""
        for first in range(self.sent, self.sent + count, self._batch):
            numbers = range(first, first + self._batch)
            self._until_taken("traces", self._spans(numbers))
            self._until_taken("logs", self._logs(numbers))
            self._until_taken("metrics", self._points(first + self._batch))
            self.sent += self._batch

    @contextmanager
    def sending(self, pause: float) -> Iterator[None]:
        """Send one batch after the other with a pause (s) between them, until the block is left."""
        done = threading.Event()

        def go_on() -> None:
            while not done.wait(pause):
                self.send(self._batch)

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(60)
        assert not thread.is_alive(), "the last batch was not taken"

    def wait_for(self, more: int) -> None:
        """Wait until ``more`` spans than now were taken."""
        goal = self.sent + more
        wait_for(lambda: self.sent >= goal, 60, f"{more} more taken", lambda: (self.sent, self.refused))

    def _until_taken(self, signal: str, request: Any) -> None:
        body = request.SerializeToString()
        wait_for(lambda: self._post(signal, body), 60, f"{signal} taken", lambda: self.refused)

    def _post(self, signal: str, body: bytes) -> bool:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        try:
            connection.request("POST", f"/v1/{signal}", body, {"Content-Type": "application/x-protobuf"})
            taken = connection.getresponse().status == TAKEN
        except (OSError, http.client.HTTPException):
            taken = False
        finally:
            connection.close()
        self.refused += not taken
        return taken

    def _spans(self, numbers: range) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        _name(group.resource)
        scope = group.scope_spans.add()
        now = time.time_ns()
        for number in numbers:
            span = scope.spans.add(name="process shop.pay", kind=CONSUMER)
            span.trace_id, span.span_id = ids(number)
            span.start_time_unix_nano, span.end_time_unix_nano = now - 1_000_000, now
            _text(span.attributes.add(), "messaging.message.id", f"job-{number}")
        return request

    def _logs(self, numbers: range) -> ExportLogsServiceRequest:
        request = ExportLogsServiceRequest()
        group = request.resource_logs.add()
        _name(group.resource)
        scope = group.scope_logs.add()
        for number in numbers:
            record = scope.log_records.add(time_unix_nano=time.time_ns(), severity_number=INFO)
            record.trace_id, record.span_id = ids(number)
            record.body.string_value = f"line {number}"
            _text(record.attributes.add(), "messaging.message.id", f"job-{number}")
        return request

    def _points(self, value: int) -> ExportMetricsServiceRequest:
        request = ExportMetricsServiceRequest()
        group = request.resource_metrics.add()
        _name(group.resource)
        metric = group.scope_metrics.add().metrics.add(name=COUNTER)
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.sum.data_points.add(time_unix_nano=time.time_ns(), as_int=value)
        return request


def ids(number: int) -> tuple[bytes, bytes]:
    """Trace id and span id of a number."""
    return (number + 1).to_bytes(16, "big"), (number + 1).to_bytes(8, "big")


def span_ids(count: int) -> set[str]:
    """The ids, as hex, of the first ``count`` spans."""
    return {ids(number)[1].hex() for number in range(count)}


def lines(count: int) -> set[str]:
    """The bodies of the first ``count`` log records."""
    return {f"line {number}" for number in range(count)}


def wait_for_all(seen: Callable[[], list[str]], expected: set[str], what: str, timeout: float = 60.0) -> int:
    """Wait until everything expected was seen at least once; how many came more than once."""

    def missing() -> str:
        absent = expected - set(seen())
        return f"{len(absent)} of {len(expected)} missing, for example {sorted(absent)[:5]}"

    wait_for(lambda: expected <= set(seen()), timeout, what, missing)
    found = seen()
    assert set(found) == expected, f"never sent: {sorted(set(found) - expected)[:5]}"
    return len(found) - len(expected)


def _name(resource: Any) -> None:
    _text(resource.attributes.add(), "service.name", "shop-worker")


def _text(pair: Any, key: str, value: str) -> None:
    pair.key, pair.value.string_value = key, value
