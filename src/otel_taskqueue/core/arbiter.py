"""The parent concludes an attempt: it lets the child's span pass, or puts its own verdict there.

Exactly one process span per attempt, whoever ends it (D6). The first conclusion stands.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan

from otel_taskqueue.core import attempts, carrier, delivery
from otel_taskqueue.core import result as _results
from otel_taskqueue.core.guard import Guarded, is_control
from otel_taskqueue.core.logs import sampling

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.attempts import Attempt
    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.result import Result


def report(attempt: Attempt, verdict: Verdict, *, reaped: bool = False) -> None:
    """The library says that the attempt ended by itself: the child's own span stands.

    ``verdict`` serves when the child's word was lost on its way; ``reaped``: as in `overrule`.
    """
    if not attempt.done:
        _conclude(_report, attempt, verdict, reaped=reaped)


def overrule(attempt: Attempt, verdict: Verdict, *, reaped: bool = False) -> None:
    """The library says how the attempt ended, whatever the child has said: it was killed or revoked.

    ``reaped``: the child is gone, so that what it has not said until now will never come.
    """
    if not attempt.done:
        _conclude(_overrule, attempt, verdict, reaped=reaped)


def conclude_all(verdict: Verdict) -> None:
    """The worker stops: what is still in flight ends with it; what no process took has not begun."""
    reader = delivery.reader()
    if reader is not None:
        reader.drain()
    for attempt in attempts.unsettled():
        if attempt.local or not (attempt.accepted or attempt.started or attempt.pending):
            continue
        with Guarded("verdict", leaving=True):
            found = attempt.pending.verdict if attempt.pending is not None else verdict
            attempt.pending = None
            _judge(attempt, found, wait=False)


def count(attempt: Attempt, verdict: Verdict, *, reported: bool = False) -> None:
    """Put the attempt into the metrics, once; ``reported``: its child's own word stands, if there is one."""
    if attempt.counted:
        return
    attempt.counted = True
    with Guarded("log sampling", leaving=True):
        sampling.concluded(attempt, verdict, reported=reported)
    with Guarded("metrics", leaving=True):
        result = attempt.result
        if result is None or result.outcome is None or not reported:
            if attempt.telemetry.excluded(attempt.incoming.job.task):
                return
            result = _result(attempt, verdict)
        attempt.telemetry.metrics.ended(result, attempt.usage)


def span_context(attempt: Attempt) -> SpanContext | None:
    """The context of the attempt's span as its child announced it, None before that."""
    reader = delivery.reader()
    if attempt.context is None and reader is not None:
        reader.drain()
        if attempt.started:
            attempt.context = delivery.context_of(attempt.started)
    return attempt.context


def context_of(attempt: Attempt) -> Context:
    """A context below the attempt's span, for what the parent does on its behalf."""
    sender = carrier.extract(attempt.incoming.carrier)
    span = span_context(attempt)
    return sender if span is None else trace.set_span_in_context(NonRecordingSpan(span), sender)


def _conclude(conclude: Callable[..., None], attempt: Attempt, verdict: Verdict, *, reaped: bool) -> None:
    """A stop of the worker may strike in the middle: the verdict is still written, then the stop goes on."""
    with Guarded("verdict", leaving=True):
        try:
            conclude(attempt, verdict, reaped=reaped)
        except BaseException as error:
            if is_control(error) and not attempt.done:
                conclude(attempt, verdict, reaped=reaped)
            raise


def _report(attempt: Attempt, verdict: Verdict, *, reaped: bool) -> None:
    reader = delivery.reader()
    if attempt.local:
        attempts.settle(attempt)  # its own `with` block tells all
        return
    if reader is None:
        count(attempt, verdict, reported=True)
        attempts.settle(attempt)  # whoever ran it exports its span
        return
    if attempt.ended is None:
        reader.drain()
    if attempt.ended is not None:
        count(attempt, verdict, reported=True)
        reader.release(attempt)
    else:
        _judge(attempt, verdict, wait=not reaped)


def _overrule(attempt: Attempt, verdict: Verdict, *, reaped: bool) -> None:
    reader = delivery.reader()
    if reader is not None:
        reader.drain()
    _judge(attempt, verdict, wait=not reaped)


def _judge(attempt: Attempt, verdict: Verdict, *, wait: bool = True) -> None:
    reader = delivery.reader()
    now = time.time_ns()
    if attempt.local:
        attempt.pending = attempts.Pending(verdict, now)  # its own `with` block writes it
        return
    count(attempt, verdict)
    if reader is not None and (attempt.started is not None or attempt.ended is not None):
        reader.judge(attempt, verdict, now)
    elif wait and reader is not None and attempt.accepted:
        attempt.pending = attempts.Pending(verdict, now)  # its child may just be announcing it
        reader.wake()
    else:
        delivery.alone(attempt, verdict, now)


def _result(attempt: Attempt, verdict: Verdict) -> Result:
    """The attempt as the parent saw it, with what its child has measured."""
    incoming, now, told = attempt.incoming, time.time_ns(), attempt.result
    found = _results.of_job(incoming.job, incoming.carrier, _start(attempt), now)
    if told is not None:
        found = told._replace(end=now)
    elif attempt.context is not None:
        found = found._replace(span=_results.span_of(attempt.context))
    return _results.judged(found, verdict._replace(requeued=True) if attempt.requeued else verdict)


def _start(attempt: Attempt) -> int:
    """When it started (unix nanoseconds): as its child announced it, else when a process took it."""
    if attempt.started:
        attempt.context = attempt.context or delivery.context_of(attempt.started)
        return delivery.start_of(attempt.started)
    return attempt.accepted
