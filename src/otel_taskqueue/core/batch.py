"""One call that enqueues many jobs: a CLIENT span above their `send` spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_taskqueue import semconv
from otel_taskqueue.core import exceptions, failure, quiet
from otel_taskqueue.core.guard import Guarded, is_control, report

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otel_taskqueue.core.job import Broker
    from otel_taskqueue.core.telemetry import Telemetry


class Sent(NamedTuple):
    """A batch: ``label`` names the call, ``messages`` their number (None: the caller cannot know)."""

    library: str
    broker: Broker
    label: str
    messages: int | None
    kind: SpanKind = SpanKind.CLIENT
    queue: str | None = None


class Batch:
    """The span of the call; its jobs' `send` spans are created below it."""

    __slots__ = ("_args", "_span", "_telemetry", "_token", "_view")

    def __init__(self, telemetry: Telemetry, view: Callable[..., Sent], *args: Any) -> None:
        self._telemetry = telemetry
        self._view = view
        self._args = args
        self._span: Span | None = None
        self._token: Token[Context] | None = None

    def __enter__(self) -> Batch:
        try:
            if not quiet.by_user():
                self._start(self._view(*self._args))
        except BaseException as error:
            if is_control(error):
                raise
            report("batch", error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> bool:
        token, self._token = self._token, None
        with Guarded("batch", leaving=True):
            if self._span is not None:
                self._end(self._span, error)
        if token is not None:
            context.detach(token)
        return False

    def sent(self, count: Callable[..., int], *args: Any) -> None:
        """Tell the number of messages, where it is known only after the call."""
        if self._span is not None and self._span.is_recording():
            with Guarded("batch"):
                self._span.set_attribute(semconv.MESSAGING_BATCH_COUNT, count(*args))

    def _start(self, sent: Sent) -> None:
        span = self._span = self._telemetry.tracer.start_span(
            f"{semconv.OPERATION_SEND} {sent.label}", kind=sent.kind, attributes=_attributes(sent)
        )
        self._token = context.attach(trace.set_span_in_context(span))

    def _end(self, span: Span, error: BaseException | None) -> None:
        try:
            if error is not None and span.is_recording():
                raised = failure.raised(error)
                span.set_attribute(semconv.ERROR_TYPE, raised.type)
                exceptions.record(self._telemetry, span, raised, semconv.EVENT_SEND_EXCEPTION)
                span.set_status(Status(StatusCode.ERROR, raised.message))
        finally:
            span.end()


def _attributes(sent: Sent) -> dict[str, Any]:
    found: dict[str, Any] = {
        semconv.MESSAGING_SYSTEM: sent.broker.system,
        semconv.MESSAGING_OPERATION_NAME: semconv.OPERATION_SEND,
        semconv.MESSAGING_OPERATION_TYPE: semconv.OPERATION_TYPE_SEND,
        semconv.SYSTEM: sent.library,
    }
    if sent.messages is not None:
        found[semconv.MESSAGING_BATCH_COUNT] = sent.messages
    if sent.queue is not None:
        found[semconv.MESSAGING_DESTINATION_NAME] = sent.queue
    if sent.broker.address is not None:
        found[semconv.SERVER_ADDRESS] = sent.broker.address
    if sent.broker.port is not None:
        found[semconv.SERVER_PORT] = sent.broker.port
    return found
