"""START HERE. The life of a job in two `with` blocks: one block = one span and its context.

`Publishing` surrounds the call that enqueues, `Processing` the call that runs one attempt. Both
begin inside a guard, call nothing of the application themselves, and end in one place. An error
of ours never reaches the application; an error of the application is never changed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import context, trace

from otel_taskqueue import semconv
from otel_taskqueue.core import attempts, carrier, failure, quiet, spans, usage
from otel_taskqueue.core import result as _results
from otel_taskqueue.core.guard import Guarded, is_control, report
from otel_taskqueue.core.job import Current
from otel_taskqueue.core.logs import sampling
from otel_taskqueue.core.relay import channel, results

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

    from otel_taskqueue.core.failure import Verdict
    from otel_taskqueue.core.job import JobView
    from otel_taskqueue.core.message import Incoming, Outgoing
    from otel_taskqueue.core.result import Result, Usage
    from otel_taskqueue.core.telemetry import Telemetry

_CURRENT = context.create_key("otel-taskqueue-current")


def current_attempt() -> Current | None:
    """The attempt that runs in the current context."""
    return context.get_value(_CURRENT)  # type: ignore[return-value]


def with_current(incoming: Incoming, span: SpanContext | None, base: Context) -> Context:
    """The context in which an attempt runs, for what another process does on its behalf."""
    return context.set_value(_CURRENT, Current(incoming.job, incoming.carrier, span, incoming.serial), base)


class Publishing:
    """The ``send`` span, and the carrier for the message; empty when there is nothing to carry."""

    __slots__ = ("_args", "_began", "_job", "_span", "_telemetry", "_token", "_view", "carrier")

    def __init__(self, telemetry: Telemetry, view: Callable[..., Outgoing], *args: Any) -> None:
        self._telemetry = telemetry
        self._view = view
        self._args = args
        self._job: JobView | None = None
        self._began = 0.0
        self._span: Span | None = None
        self._token: Token[Context] | None = None
        self.carrier: dict[str, str] = {}

    def __enter__(self) -> Publishing:
        try:
            if not quiet.by_user():
                self._start(self._view(*self._args))
        except BaseException as error:
            _detach(self._token)
            self._token = None
            if is_control(error):
                raise
            report("publish", error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> bool:
        token, self._token = self._token, None
        with Guarded("publish", leaving=True):
            if self._span is not None and self._job is not None:
                self._finish(self._span, self._job, error)
        _detach(token)
        return False

    def hold(self) -> None:
        """Leave the span's context, but not the block: the message is sent later, with others."""
        token, self._token = self._token, None
        _detach(token)

    def _start(self, outgoing: Outgoing) -> None:
        if self._telemetry.excluded(outgoing.job.task):
            self.carrier = _carrier_for(outgoing)
            if self._telemetry.settings.suppress_broker_spans:
                self._token = context.attach(quiet.quieted())
            return
        span = self._span = spans.start_publishing(self._telemetry, outgoing)
        inside = trace.set_span_in_context(span)
        if self._telemetry.settings.suppress_broker_spans:
            inside = quiet.quieted(inside)
        self._token = context.attach(inside)
        self.carrier = _carrier_for(outgoing)
        self._job = outgoing.job
        self._began = time.perf_counter()

    def _finish(self, span: Span, job: JobView, error: BaseException | None) -> None:
        seconds = time.perf_counter() - self._began
        raised = failure.raised(error) if error is not None else None
        spans.end_publishing(self._telemetry, span, raised)
        kind = raised.type if raised is not None else None
        self._telemetry.metrics.sent(job, seconds, kind, trace.set_span_in_context(span))


class Processing:
    """The ``process`` span of one attempt, and the context in which the job runs.

    Set ``verdict`` before the block is left; an exception that leaves it is judged by the room.
    ``untold`` is then what the worker's parent wants to know and no relay carries: the room may.
    """

    __slots__ = (
        "_args",
        "_attempt",
        "_began",
        "_incoming",
        "_span",
        "_telemetry",
        "_token",
        "_used",
        "_view",
        "untold",
        "verdict",
    )

    def __init__(self, telemetry: Telemetry, view: Callable[..., Incoming], *args: Any) -> None:
        self._telemetry = telemetry
        self._view = view
        self._args = args
        self._incoming: Incoming | None = None
        self._attempt: attempts.Attempt | None = None
        self._began = 0
        self._used: usage.Start | None = None
        self._span: Span | None = None
        self._token: Token[Context] | None = None
        self.untold: Result | None = None
        self.verdict: Verdict | None = None

    def __enter__(self) -> Processing:
        try:
            if not quiet.by_user():
                self._start(self._view(*self._args))
        except BaseException as error:
            _detach(self._token)
            self._token = self._incoming = None
            if is_control(error):
                raise
            report("process", error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> Literal[False]:
        token, self._token = self._token, None
        if self._incoming is not None:
            with Guarded("process", leaving=True):
                self._finish(self._incoming, error)
        _detach(token)
        return False

    @property
    def carrier(self) -> dict[str, str]:
        """What the message carried."""
        return self._incoming.carrier if self._incoming is not None else {}

    @property
    def span_context(self) -> SpanContext | None:
        """The context of the recorded span, None when nothing is recorded."""
        return self._span.get_span_context() if self._span is not None else None

    def _start(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._began = time.time_ns()
        self._attempt = _claim(self._telemetry, incoming)
        inside = _sender(incoming)
        if not self._telemetry.excluded(incoming.job.task):
            span = self._span = spans.start_processing(self._telemetry, incoming, inside, self._began)
            channel.announce(incoming.serial, span)
            inside = trace.set_span_in_context(span, inside)
        self._token = context.attach(with_current(incoming, self.span_context, inside))
        self._used = usage.start()

    def _finish(self, incoming: Incoming, error: BaseException | None) -> None:
        used, end = usage.since(self._used), time.time_ns()
        verdict = self._verdict(incoming, error)
        try:
            if verdict is None and self._attempt is None and not channel.is_open():
                return  # the parent reports this end; a span ended here would be a second one
            if self._span is not None:
                self._tell(incoming, verdict, end, used)
                spans.end_processing(self._telemetry, self._span, incoming.job, verdict, end, used)
        finally:
            if self._attempt is not None:
                attempts.settle(self._attempt)
            channel.finished(incoming.serial, self._span)
            sampling.ended(incoming.job.id, verdict)

    def _tell(self, incoming: Incoming, verdict: Verdict | None, end: int, used: Usage | None) -> None:
        """Count the attempt, where this process does; else tell the parent, which does."""
        result = _results.of_job(incoming.job, incoming.carrier, self._began, end)
        plain = used and used[:]  # only exact tuples are relayed
        result = result._replace(usage=plain, span=_results.span_of(self.span_context))
        if verdict is not None:
            result = _results.judged(result, verdict)
        if self._attempt is None:
            channel.conclude(incoming.serial, tuple(result))
            if not incoming.counts:
                results.tell(result)
            elif not channel.is_open():
                self.untold = result
        elif verdict is not None and not self._attempt.counted:
            self._attempt.counted = True
            self._telemetry.metrics.ended(result)

    def _verdict(self, incoming: Incoming, error: BaseException | None) -> Verdict | None:
        if self._attempt is not None and self._attempt.pending is not None:
            return self._attempt.pending.verdict  # revoked while it ran in this very process
        if self.verdict is not None:
            return self.verdict
        return failure.SUCCESS if error is None else incoming.judge(error)


def _claim(telemetry: Telemetry, incoming: Incoming) -> attempts.Attempt | None:
    """The attempt, where no other process reports on it; None in a child, and for an eager run."""
    attempt = attempts.claim(incoming.serial)
    if attempt is not None:
        attempt.local = True
    elif incoming.serial is None and incoming.counts and not incoming.eager:
        attempt = attempts.open_here(telemetry, incoming)
    return attempt


def _sender(incoming: Incoming) -> Context:
    """The context of whoever sent the job; an eager job's caller is here, else its first attempt is named."""
    if not incoming.eager:
        return carrier.extract(incoming.carrier)
    first = carrier.from_traceparent(incoming.carrier.get(semconv.TRACEPARENT))
    current = context.get_current()
    return current if first is None else trace.set_span_in_context(trace.NonRecordingSpan(first), current)


def _carrier_for(outgoing: Outgoing) -> dict[str, str]:
    attempt = outgoing.retry_of
    if attempt is None:
        return carrier.inject(outgoing.first_enqueued)
    # A job without a sender that we know hangs its next attempt below this one's `send` span.
    original = attempt.carrier if carrier.names_sender(attempt.carrier) else carrier.inject()
    return carrier.for_retry(original, attempt.span_context)


def _detach(token: Token[Context] | None) -> None:
    if token is not None:
        with Guarded("context", leaving=True):
            context.detach(token)
