"""The two spans of a job as plain functions: how they start, and what their end says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from otel_taskqueue import semconv
from otel_taskqueue.core import attributes, carrier, exceptions, failure, usage
from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otel_taskqueue.core.failure import Raised, Verdict
    from otel_taskqueue.core.job import JobView
    from otel_taskqueue.core.message import Incoming, Outgoing
    from otel_taskqueue.core.result import Usage
    from otel_taskqueue.core.telemetry import Telemetry


def start_publishing(telemetry: Telemetry, outgoing: Outgoing) -> Span:
    """Start the ``send`` span in the current context."""
    span = telemetry.tracer.start_span(
        attributes.span_name(telemetry, semconv.OPERATION_SEND, outgoing.job),
        kind=SpanKind.PRODUCER,
        attributes=attributes.of_send(telemetry, outgoing.job),
        links=outgoing.links,
    )
    _call_hook(telemetry.publish_hook, span, outgoing.job)
    return span


def end_publishing(telemetry: Telemetry, span: Span, raised: Raised | None) -> None:
    """End the ``send`` span; with the exception that left the enqueue call, if one did."""
    try:
        if raised is not None and span.is_recording():
            span.set_attribute(semconv.ERROR_TYPE, raised.type)
            exceptions.record(telemetry, span, raised, semconv.EVENT_SEND_EXCEPTION)
            span.set_status(Status(StatusCode.ERROR, raised.message))
    finally:
        span.end()


def start_processing(
    telemetry: Telemetry, incoming: Incoming, sender: Context, start_time: int | None = None
) -> Span:
    """Start the ``process`` span below the sender's context, or linked to it (D7)."""
    links = [*incoming.links, *carrier.previous_attempt(incoming.carrier)]
    if incoming.link:
        producer = trace.get_current_span(sender).get_span_context()
        if producer.is_valid:
            links.append(Link(producer))
        sender = trace.set_span_in_context(trace.INVALID_SPAN, sender)
    span = telemetry.tracer.start_span(
        attributes.span_name(telemetry, semconv.OPERATION_PROCESS, incoming.job),
        context=sender,
        kind=SpanKind.INTERNAL if incoming.eager else SpanKind.CONSUMER,
        attributes=attributes.of_process(telemetry, incoming, sender),
        links=links,
        start_time=start_time,
    )
    _call_hook(telemetry.process_hook, span, incoming.job)
    return span


def end_processing(
    telemetry: Telemetry,
    span: Span,
    job: JobView,
    verdict: Verdict | None,
    end_time: int | None = None,
    used: Usage | None = None,
) -> None:
    """Write the verdict on the span and end it; without one the parent will judge."""
    try:
        if span.is_recording():
            if used is not None:
                span.set_attributes(usage.attributes_of(used))
            if verdict is not None:
                _write(telemetry, span, job, verdict)
    finally:
        span.end(end_time)


def _write(telemetry: Telemetry, span: Span, job: JobView, verdict: Verdict) -> None:
    span.set_attributes(failure.attributes_of(verdict))
    if verdict.again is not None:
        span.add_event(semconv.EVENT_RETRY, failure.retry_event(verdict.again, job.attempt))
    if verdict.exception is not None:
        exceptions.record(telemetry, span, verdict.exception, semconv.EVENT_PROCESS_EXCEPTION)
    if verdict.is_error:
        span.set_status(Status(StatusCode.ERROR, failure.description_of(verdict)))


def _call_hook(hook: Callable[[Span, JobView], None] | None, span: Span, job: JobView) -> None:
    if hook is not None and span.is_recording():
        with Guarded("hook"):
            hook(span, job)
