"""The floor: hand-written code with the stock SDK which does the same job, and no more.

Publish: a producer span with 5 attributes, made current, injected. Execute: extracted, a consumer span with 8
attributes, made current; a failure is an event with the traceback that the queue has formatted already.
With metrics: 1 counter where jobs are enqueued, 2 histograms and 1 counter where they run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

_tracer = trace.get_tracer("floor")


class Floor:
    """The spans and metrics of one queue library; ``seconds`` by which jobs waited are made up."""

    def __init__(self, library: str, broker: str) -> None:
        meter = metrics.get_meter("floor")
        self._shared = {"taskqueue.system": library, "messaging.system": broker}
        self._sent = meter.create_counter("messaging.client.sent.messages")
        self._runs = meter.create_counter("taskqueue.task.runs")
        self._duration = meter.create_histogram("messaging.process.duration", "s")
        self._wait = meter.create_histogram("taskqueue.task.wait.duration", "s")

    def publish(self, task: str, queue: str, send: Callable[[dict[str, str]], Any]) -> Any:
        """Enqueue one job with the carrier in its message."""
        attributes = {
            **self._shared,
            "messaging.operation.name": "send",
            "messaging.destination.name": queue,
            "taskqueue.task.name": task,
        }
        with _tracer.start_as_current_span(f"send {task}", kind=SpanKind.PRODUCER, attributes=attributes):
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            result = send(carrier)
        self._sent.add(1, {**self._shared, "taskqueue.task.name": task})
        return result

    def execute(self, task: str, queue: str, job: str, carrier: Mapping[str, Any], run: Callable[[], Any],
                failure_of: Callable[[Any], tuple[BaseException, str] | None]) -> Any:  # fmt: skip
        """Run one attempt; ``failure_of`` finds the exception and its traceback in what it returns."""
        attributes = {
            **self._shared,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.message.id": job,
            "taskqueue.task.name": task,
            "taskqueue.task.attempt": 1,
        }
        began = time.perf_counter()
        parent = propagate.extract(carrier)
        span = _tracer.start_span(f"process {task}", parent, SpanKind.CONSUMER, attributes)
        token = context.attach(trace.set_span_in_context(span, parent))
        failure = None
        try:
            result = run()
            failure = failure_of(result)
            return result
        finally:
            if failure is not None and span.is_recording():
                _record(span, *failure)
            span.end()
            context.detach(token)
            shared = {**self._shared, "taskqueue.task.name": task}
            self._duration.record(time.perf_counter() - began, shared)
            self._wait.record(0.1, shared)
            outcome = "success" if failure is None else "failure"
            self._runs.add(1, {**shared, "taskqueue.task.outcome": outcome})


def _record(span: Span, error: BaseException, stacktrace: str) -> None:
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    span.set_attribute("error.type", kind)
    event = {
        "exception.type": kind,
        "exception.message": str(error),
        "exception.stacktrace": stacktrace,
    }
    span.add_event("exception", event)
    span.set_status(Status(StatusCode.ERROR, str(error)))
