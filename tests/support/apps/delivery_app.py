"""The Celery application once more, with tasks that are hard on whoever delivers telemetry.

Its SDK is set up by ``opentelemetry-instrument``, or by hand as ``delivery_sdk`` has it.
"""

from __future__ import annotations

import os
import signal
import time

from celery import Task
from celery.signals import worker_process_shutdown, worker_shutdown
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation

from support.apps import delivery_sdk

delivery_sdk.set_up()

from support.apps.celery_app import app, attempt, tracer  # noqa: E402 - after the set-up
from support.apps.notes import note  # noqa: E402

__all__ = ["app"]


@app.task(bind=True)
def steps(self: Task, count: int = 3, size: int = 0) -> None:
    """Make spans of its own, each with ``size`` bytes of text."""
    attempt(self)
    for number in range(count):
        with tracer.start_as_current_span(f"step {number}") as span:
            if size:
                span.set_attribute("filling", "x" * size)


@app.task(bind=True)
def too_large(self: Task, size: int = 300_000) -> None:
    """Make a span, and this attempt's own, larger than any datagram."""
    attempt(self)
    for span in (trace.get_current_span(), tracer.start_span("large step")):
        for number in range(40):
            span.set_attribute(f"filling.{number}", "x" * (size // 40))
        for number in range(40):
            span.add_event(f"event {number}", {"filling": "y" * (size // 40)})
        if span is not trace.get_current_span():
            span.end()


@app.task(bind=True)
def secret(self: Task, end: str = "return") -> None:
    """Put a card number on this attempt's span and on an inner one, then end in a way."""
    attempt(self)
    trace.get_current_span().set_attribute("card", f"paid with {delivery_sdk.SECRET}")
    with tracer.start_as_current_span("pay") as span:
        span.set_attribute("card", f"paid with {delivery_sdk.SECRET}")
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(30)


@app.task(bind=True)
def leave_a_grandchild(self: Task, seconds: float = 60.0) -> int:
    """Fork a process that keeps every descriptor of this one for a while."""
    attempt(self)
    pid = os.fork()
    if pid == 0:
        time.sleep(seconds)
        os._exit(0)
    note(self.request.id, "grandchild", grandchild=pid)
    return pid


@app.task(bind=True)
def sleep_then_kill(self: Task, seconds: float = 0.3) -> None:
    """Give earlier results time to be handled, then end this process by SIGKILL."""
    attempt(self)
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30)


@app.task(bind=True, time_limit=1)
def swallow_hard_limit(self: Task) -> str:
    """Swallow the SystemExit by which the hard limit ends the child, make a span, and return."""
    attempt(self)
    try:
        time.sleep(30)
    except SystemExit:
        with tracer.start_as_current_span("going on"):
            pass
        return "I go on"
    return "never"


@app.task(bind=True, soft_time_limit=1)
def spans_until_soft_limit(self: Task) -> str:
    """Make spans without a pause until the soft limit comes."""
    attempt(self)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            tracer.start_span("busy").end()
    except BaseException as error:
        note(self.request.id, "stopped", by=type(error).__name__)
        raise
    note(self.request.id, "stopped", by="nothing")
    return "never"


@app.task(bind=True)
def quiet_publish(self: Task) -> str:
    """Publish while instrumentation is suppressed."""
    attempt(self)
    with suppress_instrumentation():
        return app.send_task("support.apps.celery_app.ok").id


@worker_process_shutdown.connect
def span_at_child_end(**_: object) -> None:
    """The last words of a child."""
    if os.environ.get("TASKQUEUE_TEST_LAST_WORDS"):
        tracer.start_span("last words").end()


@worker_shutdown.connect
def report_drops(**_: object) -> None:
    """Say what the relay had to drop; it is read before the process ends."""
    from otel_taskqueue.core import delivery

    reader = delivery.reader()
    if reader is not None:
        print(f"relay dropped {dict(reader.dropped)}", flush=True)
