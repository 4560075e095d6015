"""A log record as a plain tuple, with the span it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_taskqueue.core.relay.frames import pack_scope, plain, plain_attributes, unpack_scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.resources import Resource


def pack_log(emitted: ReadWriteLogRecord) -> tuple[Any, ...]:
    """A log record as a tuple."""
    record = emitted.log_record
    severity = record.severity_number
    return (
        record.timestamp,
        record.observed_timestamp,
        record.trace_id or 0,
        record.span_id or 0,
        int(record.trace_flags or 0),
        record.severity_text,
        None if severity is None else severity.value,
        plain(record.body),
        plain_attributes(record.attributes),
        emitted.dropped_attributes,
        record.event_name,
        pack_scope(emitted.instrumentation_scope),
    )


def unpack_log(packed: Sequence[Any], resource: Resource) -> ReadWriteLogRecord:
    """The log record of a tuple, with the given resource and always with a span context."""
    (timestamp, observed, trace_id, span_id, flags, text, number, body, attributes, dropped, event_name,
     scope) = packed  # fmt: skip
    span = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags)))
    record = LogRecord(
        timestamp=timestamp,
        observed_timestamp=observed,
        context=trace.set_span_in_context(span, Context()),
        severity_text=text,
        severity_number=None if number is None else SeverityNumber(number),
        body=body,
        attributes=attributes,
        event_name=event_name,
    )
    emitted = ReadWriteLogRecord(record, resource, unpack_scope(scope))
    if dropped:
        record.attributes.dropped = dropped  # type: ignore[union-attr]
    return emitted
