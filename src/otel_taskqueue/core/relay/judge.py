"""The parent's verdict on an attempt, written on the span that the child announced or ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import StatusCode

from otel_taskqueue import semconv
from otel_taskqueue.core import attempts, carrier, exceptions, failure, usage
from otel_taskqueue.core.relay import frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_taskqueue.core.attempts import Attempt
    from otel_taskqueue.core.failure import Verdict

#: What a verdict writes; a verdict without one of them takes the child's away.
_JUDGED: Final = frozenset({semconv.ERROR_TYPE, semconv.FAILURE_CATEGORY, semconv.TASK_OUTCOME})


def rewrite(packed: Sequence[Any], verdict: Verdict, end_time: int, attempt: Attempt) -> Sequence[Any]:
    """The span's tuple with this verdict instead of whatever the child had to say."""
    span = list(packed)
    attributes = {key: value for key, value in span[frames.ATTRIBUTES].items() if key not in _JUDGED}
    used = usage.attributes_of(attempt.usage)
    span[frames.ATTRIBUTES] = {**attributes, **used, **failure.attributes_of(verdict)}
    span[frames.EVENTS] = _events(span, verdict, end_time, attempt)
    span[frames.END] = max(end_time, span[frames.START])
    span[frames.STATUS] = (StatusCode.ERROR if verdict.is_error else StatusCode.UNSET).value
    span[frames.DESCRIPTION] = failure.description_of(verdict) if verdict.is_error else None
    return span


def alone(attempt: Attempt, verdict: Verdict, end_time: int) -> None:
    """A span for an attempt of which the child said nothing: it never started, or died too early."""
    from otel_taskqueue.core import spans  # noqa: PLC0415  it imports this package

    telemetry, incoming = attempt.telemetry, attempt.incoming
    if telemetry.excluded(incoming.job.task):
        return
    start = min(attempt.accepted or end_time, end_time)
    sender = carrier.extract(incoming.carrier)
    span = spans.start_processing(telemetry, incoming, sender, start)
    spans.end_processing(telemetry, span, incoming.job, verdict, end_time, attempt.usage)


def alone_once(attempt: Attempt, verdict: Verdict, end_time: int) -> None:
    """As `alone`, but after a stop that struck it may have been asked for twice."""
    if attempts.first_told(attempt):
        alone(attempt, verdict, end_time)


def _events(span: list[Any], verdict: Verdict, end_time: int, attempt: Attempt) -> list[Any]:
    kept = [event for event in span[frames.EVENTS] if not _was_judged(span, event)]
    if verdict.again is not None:
        event = dict(failure.retry_event(verdict.again, attempt.incoming.job.attempt))
        kept.append((semconv.EVENT_RETRY, end_time, event, 0))
    if verdict.exception is not None:
        if attempt.telemetry.exceptions_as_events:
            event = dict(failure.exception_event(verdict.exception))
            kept.append((semconv.EVENT_EXCEPTION, end_time, event, 0))
        if attempt.telemetry.exceptions_as_logs:
            context = frames.unpack_context(span[frames.CONTEXT])
            assert context is not None  # noqa: S101  a recorded span has one
            name = semconv.EVENT_PROCESS_EXCEPTION
            exceptions.emit(attempt.telemetry, context, verdict.exception, name)
    return kept


def _was_judged(span: list[Any], event: Any) -> bool:
    """Whether the event is the exception with which the child itself judged the attempt."""
    return span[frames.STATUS] == StatusCode.ERROR.value and event[0] == semconv.EVENT_EXCEPTION
