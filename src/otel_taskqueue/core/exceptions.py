"""An exception recorded once: as span event, as log record, or both, as the user opted.

`OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN` of the semantic conventions ("Recording exceptions") decides.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber

from otel_taskqueue import semconv
from otel_taskqueue.core import failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span, SpanContext

    from otel_taskqueue.core.failure import Raised
    from otel_taskqueue.core.telemetry import Telemetry


def record(telemetry: Telemetry, span: Span, error: Raised, event_name: str) -> None:
    """Record an exception that ended this span's operation."""
    if telemetry.exceptions_as_events:
        span.add_event(semconv.EVENT_EXCEPTION, failure.exception_event(error))
    if telemetry.exceptions_as_logs:
        emit(telemetry, span.get_span_context(), error, event_name)


def emit(telemetry: Telemetry, span: SpanContext, error: Raised, event_name: str) -> None:
    """Emit the exception as a log record of the span (severities as the conventions have them)."""
    fatal = event_name == semconv.EVENT_PROCESS_EXCEPTION
    now = time.time_ns()
    telemetry.logger.emit(
        LogRecord(
            timestamp=now,
            observed_timestamp=now,
            severity_number=SeverityNumber.ERROR if fatal else SeverityNumber.WARN,
            severity_text="ERROR" if fatal else "WARN",
            event_name=event_name,
            attributes=_attributes(error),
            context=trace.set_span_in_context(trace.NonRecordingSpan(span)),
        )
    )


def _attributes(error: Raised) -> Mapping[str, str]:
    attributes = failure.exception_event(error)
    if error.category is None:
        return attributes
    return {**attributes, semconv.FAILURE_CATEGORY: error.category}
