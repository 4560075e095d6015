"""What has arrived so far: spans and log lines as plain values, read from OTLP messages."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

Value = str | int | float | bool | None


class Event(NamedTuple):
    """Something that happened during a span."""

    name: str
    attributes: Mapping[str, Value]


class Span(NamedTuple):
    """One span; ids in lower case hex, ``parent_id`` empty for a root, times in nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    start: int
    end: int
    is_error: bool
    status: str
    attributes: Mapping[str, Value]
    events: tuple[Event, ...]

    def event(self, name: str) -> Event | None:
        """The first event of this name."""
        return next((event for event in self.events if event.name == name), None)


class LogLine(NamedTuple):
    """One log record; time in nanoseconds."""

    trace_id: str
    span_id: str
    time: int
    severity: str
    logger: str
    body: str


@dataclass
class Harvest:
    """Everything that arrived, in the order of arrival; threads may add while others wait."""

    spans: list[Span] = field(default_factory=list[Span])
    logs: list[LogLine] = field(default_factory=list[LogLine])
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add_traces(self, request: ExportTraceServiceRequest) -> None:
        """Take the spans of one export."""
        found = [
            _span(message, _service(group.resource.attributes))
            for group in request.resource_spans
            for scope in group.scope_spans
            for message in scope.spans
        ]
        with self._changed:
            self.spans.extend(found)
            self._changed.notify_all()

    def add_logs(self, request: ExportLogsServiceRequest) -> None:
        """Take the log records of one export."""
        found = [
            _log(record, scope.scope.name)
            for group in request.resource_logs
            for scope in group.scope_logs
            for record in scope.log_records
        ]
        with self._changed:
            self.logs.extend(found)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until the condition holds, at most ``timeout`` seconds; say whether it does."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)


def _span(message: SpanMessage, service: str) -> Span:
    return Span(
        trace_id=message.trace_id.hex(),
        span_id=message.span_id.hex(),
        parent_id=message.parent_span_id.hex(),
        name=message.name,
        service=service,
        start=message.start_time_unix_nano,
        end=message.end_time_unix_nano,
        is_error=message.status.code == message.status.STATUS_CODE_ERROR,
        status=message.status.message,
        attributes=_attributes(message.attributes),
        events=tuple(Event(event.name, _attributes(event.attributes)) for event in message.events),
    )


def _log(record: LogRecord, logger: str) -> LogLine:
    return LogLine(
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        time=record.time_unix_nano or record.observed_time_unix_nano,
        severity=record.severity_text,
        logger=logger,
        body=str(_value(record.body)),
    )


def _service(attributes: Iterable[KeyValue]) -> str:
    return str(_attributes(attributes).get("service.name") or "")


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found: object = getattr(value, kind)
    return found if isinstance(found, (str, int, float, bool)) else str(found)
