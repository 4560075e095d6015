"""Where RQ enqueues: every path ends in `_enqueue_job`, `schedule_job` or a job saved as deferred."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace
from opentelemetry.trace import INVALID_SPAN, Link, SpanKind

from otel_taskqueue import semconv
from otel_taskqueue.core import batch
from otel_taskqueue.core import carrier as _carrier
from otel_taskqueue.core.failure import Again
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.job import Current
from otel_taskqueue.core.lifecycle import Publishing, current_attempt
from otel_taskqueue.core.message import Outgoing
from otel_taskqueue.rq import boot, compat, notes, verdicts, ways
from otel_taskqueue.rq import job as _job

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def enqueue(telemetry: Telemetry) -> Wrapper:
    """Wrap `Queue.enqueue_job`, `Queue._enqueue_job`, `Queue.schedule_job`: one of them, one `send` span.

    The outer call has the span, as it can fail before it comes to the inner one.
    """

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def enqueue_job(queue: Any, *args: Any, **kwargs: Any) -> Any:
            job = notes.argument(args, kwargs, "job")
            if job is None or not _makes_a_message(job):
                return original(queue, *args, **kwargs)
            sending = Sending(telemetry, queue, job, notes.argument(args, kwargs, "datetime", 1))
            with sending, _publishing(telemetry, sending):
                return original(queue, *args, **kwargs)

        return enqueue_job

    return wrapper


def create_deferred(telemetry: Telemetry) -> Wrapper:
    """Wrap `Queue.create_job`: `enqueue_many` saves jobs with dependencies by no method of the queue."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def create_job(queue: Any, *args: Any, **kwargs: Any) -> Any:
            job = original(queue, *args, **kwargs)
            if ways.current().name == ways.MANY and compat.status_of(job) == "deferred":
                sending = Sending(telemetry, queue, job, None)
                with sending, _publishing(telemetry, sending):
                    notes.of_job(job).sent = True
            return job

        return create_job

    return wrapper


def enqueue_many(telemetry: Telemetry) -> Wrapper:
    """Wrap `Queue.enqueue_many`: all its jobs are in one trace (D7)."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        run = boot.quietly(telemetry)(original)

        def send_all(queue: Any, *args: Any, **kwargs: Any) -> Any:
            with ways.many():
                jobs = run(queue, *args, **kwargs)
                with Guarded("publish"):
                    for job in jobs:
                        notes.of_job(job).sent = False
                return jobs

        def enqueue_jobs(queue: Any, *args: Any, **kwargs: Any) -> Any:
            if trace.get_current_span().get_span_context().is_valid:
                return send_all(queue, *args, **kwargs)
            with batch.Batch(telemetry, _batch, queue, notes.argument(args, kwargs, "job_datas")):
                return send_all(queue, *args, **kwargs)

        return enqueue_jobs

    return wrapper


@contextmanager
def _publishing(telemetry: Telemetry, sending: Sending) -> Generator[None]:
    """The `send` span; in `enqueue_many` it ends when that has sent all its messages at once."""
    publishing, blocks = Publishing(telemetry, sending.outgoing), ways.current().blocks
    with publishing if blocks is None else nullcontext(blocks.enter_context(publishing)):
        try:
            with Guarded("publish"):
                sending.write(publishing.carrier)
            yield
        finally:
            if blocks is not None:
                publishing.hold()


class Sending:
    """One enqueue call: its view of the job, and the context below which its span belongs."""

    __slots__ = ("_eta", "_job", "_notes", "_queue", "_telemetry", "_token", "_view", "_way")

    def __init__(self, telemetry: Telemetry, queue: Any, job: Any, eta: Any) -> None:
        self._telemetry = telemetry
        self._queue = queue
        self._job = job
        self._eta = eta
        self._notes = notes.of_job(job)
        self._way = ways.current()
        self._view: Any = None
        self._token: Any = None

    def __enter__(self) -> None:
        self._notes.sending = True
        if self._way.name == ways.REPEAT:  # a trace of its own: a repeated job would never end the first
            self._token = context.attach(trace.set_span_in_context(INVALID_SPAN))

    def __exit__(self, *_: object) -> None:
        self._notes.sending = False
        if self._token is not None:
            context.detach(self._token)

    def outgoing(self) -> Outgoing:
        """The message as the `send` span tells it."""
        eta = _job.rfc3339(self._eta) if hasattr(self._eta, "astimezone") else None
        asked_by = self._asked_by()
        number = 1 if asked_by is None else asked_by.job.attempt + 1
        self._view = _job.of_publish(self._queue, self._job, number, eta, self._telemetry.settings)
        if asked_by is not None:
            self._notes.again = Again(_delay(self._eta), verdicts.reason_of(self._notes.error))
            return Outgoing(self._view, retry_of=asked_by)
        run = self._run_before()
        return Outgoing(
            self._view,
            links=[Link(run)] if run is not None else (),
            first_enqueued=self._first_enqueued() if run is not None else None,
        )

    def write(self, carrier: dict[str, str]) -> None:
        """Let the job carry it; nothing when the user has suppressed us."""
        if carrier:
            _job.write_carrier(self._job, self._view, carrier)

    def _asked_by(self) -> Current | None:
        """The attempt that asks for the next one: it runs here, or this process only hears of its end."""
        if self._way.name != ways.RETRY or self._way.job is not self._job:
            return None
        current = current_attempt()
        if current is not None and current.job.id == self._job.id:
            return current
        carrier = _job.carrier_of(self._job)
        return Current(_job.of_watch(self._job, carrier, None), carrier, self._stored_run())

    def _run_before(self) -> SpanContext | None:
        current = current_attempt()
        if current is not None and current.job.id == self._job.id:
            return current.span_context
        return self._stored_run()

    def _stored_run(self) -> SpanContext | None:
        return _carrier.from_traceparent(self._notes.run)

    def _first_enqueued(self) -> str | None:
        if self._way.name == ways.REPEAT:
            return None
        return _job.carrier_of(self._job).get(semconv.FIRST_ENQUEUED_AT)


def _makes_a_message(job: Any) -> bool:
    """Whether this call is the outer one of an enqueue; a released job gets its link on the way."""
    about = notes.of_job(job)
    way = ways.current()
    if about.sending or about.sent or way.name == ways.MOVE:
        return False
    if way.name == ways.RELEASE:
        with Guarded("publish"):
            _link_to_dependency(job, way.job)
        return False
    return True


def _link_to_dependency(job: Any, dependency: Any) -> None:
    current = current_attempt()
    if current is None or current.span_context is None or current.job.id != getattr(dependency, "id", None):
        return
    previous = {semconv.PREVIOUS: _carrier.to_traceparent(current.span_context)}
    _job.change_carrier(job, {**_job.packed_of(job), **previous})


def _batch(queue: Any, job_datas: Any) -> batch.Sent:
    count = len(job_datas) if hasattr(job_datas, "__len__") else None
    broker = _job.broker_of(queue.connection)
    return batch.Sent(semconv.RQ, broker, "enqueue_many", count, SpanKind.CLIENT, queue.name)


def _delay(eta: Any) -> float:
    """Seconds until the next attempt, 0 when it may run at once."""
    return round(max(0.0, eta.timestamp() - time.time()), 3) if hasattr(eta, "timestamp") else 0.0
