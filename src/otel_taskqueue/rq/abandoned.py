"""Jobs whose worker died with its work-horse: RQ's maintenance finds them, we report them once.

A registry may be cleaned by any of its readers, so this works in every instrumented process.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan

from otel_taskqueue import semconv
from otel_taskqueue.core import carrier as _carrier
from otel_taskqueue.core import lifecycle, quiet, spans
from otel_taskqueue.core import result as results
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.message import Incoming
from otel_taskqueue.rq import compat, notes, verdicts
from otel_taskqueue.rq import job as _job

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otel_taskqueue.core.failure import Again, Verdict
    from otel_taskqueue.core.result import Result
    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]
    Judge = Callable[[Again | None], Verdict]

_ABANDONED = "AbandonedJobError"


class Lost(NamedTuple):
    """One job that was found; without a span when its end has been reported before.

    ``started`` is in unix nanoseconds, 0: it never started.
    """

    job: Any
    incoming: Incoming
    started: int
    span: Span | None
    judge: Judge


class Report:
    """The jobs found in one pass, each the current attempt until the next one is found."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._found: list[Lost] = []
        self._token: Token[Context] | None = None

    def add(self, job: Any, judge: Judge, started: int = 0) -> None:
        """A job was found; what RQ does about it belongs below its attempt."""
        self.leave()
        carrier = _job.carrier_of(job)
        link = _job.style_of(job, self._telemetry.settings) == "link"
        view = _job.of_watch(job, carrier, getattr(job, "worker_name", None), taken=started)
        incoming = Incoming(view, carrier, judge=_no_verdict, link=link)
        span = self._start(job, incoming, started)
        self._found.append(Lost(job, incoming, started, span, judge))
        self._token = context.attach(self._below(job, incoming, span))

    def leave(self) -> None:
        """RQ is done with the job."""
        token, self._token = self._token, None
        if token is not None:
            context.detach(token)

    def end(self) -> None:
        """RQ has stored what it decided: tell how each attempt ended."""
        for lost in self._found:
            if lost.span is not None:
                with Guarded("verdict", leaving=True):
                    verdict = lost.judge(notes.of_job(lost.job).again)
                    spans.end_processing(self._telemetry, lost.span, lost.incoming.job, verdict)
                    self._telemetry.metrics.ended(_result(lost, verdict))

    def _start(self, job: Any, incoming: Incoming, started: int) -> Span | None:
        reported = notes.of_job(job).run == semconv.JOB_RUN_REPORTED
        if reported or self._telemetry.excluded(incoming.job.task):
            return None
        sender = _carrier.extract(incoming.carrier)
        return spans.start_processing(self._telemetry, incoming, sender, started or time.time_ns())

    def _below(self, job: Any, incoming: Incoming, span: Span | None) -> Context:
        if span is not None:
            run = span.get_span_context()
        else:
            run = _carrier.from_traceparent(notes.of_job(job).run)
        below = _carrier.extract(incoming.carrier)
        if run is not None:
            below = trace.set_span_in_context(NonRecordingSpan(run), below)
        if self._telemetry.settings.suppress_broker_spans:
            below = quiet.quieted(below)
        return lifecycle.with_current(incoming, run, below)


_report: ContextVar[Report | None] = ContextVar("otel-taskqueue-rq-report", default=None)


def cleanup(telemetry: Telemetry) -> Wrapper:
    """Wrap `StartedJobRegistry.cleanup`."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def cleanup_registry(*args: Any, **kwargs: Any) -> Any:
            with reporting(telemetry):
                return original(*args, **kwargs)

        return cleanup_registry

    return wrapper


@contextmanager
def reporting(telemetry: Telemetry) -> Generator[None]:
    """Report what is found in this block; nothing when it raises: RQ will find the jobs again."""
    report = Report(telemetry)
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)
        report.leave()
    report.end()


def found(job: Any, exc_info: tuple[Any, ...]) -> bool:
    """Whether RQ has found the job abandoned; then it is reported."""
    kind, report = exc_info[0] if exc_info else None, _report.get()
    if report is None or not isinstance(kind, type) or not compat.is_a(kind, _ABANDONED):
        return False
    words = "its worker stopped reporting on it"
    started = compat.nanoseconds(job.started_at)
    report.add(job, lambda again: verdicts.of_abandoned(kind, again, words), started)
    return True


def stuck(job: Any) -> None:
    """RQ has found the job between its queue and a worker."""
    report = _report.get()
    if report is not None:
        with Guarded("verdict"):
            report.add(job, _judge_stuck)


def _result(lost: Lost, verdict: Verdict) -> Result:
    incoming = lost.incoming
    found = results.of_job(incoming.job, incoming.carrier, lost.started, time.time_ns())
    context = lost.span.get_span_context() if lost.span is not None else None
    return results.judged(found._replace(span=results.span_of(context)), verdict)


def _judge_stuck(again: Again | None) -> Verdict:
    return verdicts.of_abandoned(None, again, "taken from the queue by a worker that never started it")


def _no_verdict(_error: BaseException) -> None:
    """No job runs in this process that could raise."""
