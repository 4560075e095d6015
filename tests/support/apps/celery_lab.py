"""The Celery application with tasks for what lies beyond the ends of an attempt."""

from __future__ import annotations

import json
import os
from signal import SIGKILL
from typing import Any

from celery import Task

from support.apps.celery_app import add, app, attempt, ok
from support.apps.errors import TransientError
from support.apps.notes import note

if "TASKQUEUE_TEST_BEAT" in os.environ:
    app.conf.beat_schedule = json.loads(os.environ["TASKQUEUE_TEST_BEAT"])


@app.task(bind=True)
def with_link_style(self: Task) -> None:
    """Ask for a trace of its own."""
    attempt(self)


with_link_style.otel_trace_style = "link"


@app.task(bind=True)
def with_arguments(self: Task, *_args: Any, **_kwargs: Any) -> None:
    """Take anything."""
    attempt(self)


@app.task(bind=True)
def excluded_victim(self: Task) -> None:
    """Nothing is told about this task, whatever happens to its process."""
    attempt(self)
    os.kill(os.getpid(), SIGKILL)


@app.task(bind=True)
def excluded_relay(self: Task, value: Any = None) -> str:
    """Nothing is told about this task, but the jobs that it enqueues go on with the trace."""
    attempt(self)
    return ok.delay(value).id


@app.task(bind=True, max_retries=2)
def retry_twice(self: Task, countdown: float = 0.2) -> str:
    """Ask for another attempt, and for one more."""
    if attempt(self) < 2:
        raise self.retry(countdown=countdown, exc=TransientError("later"))
    return "third time"


@app.task(bind=True)
def replace_by_chain(self: Task) -> None:
    """Put a chain in this task's place."""
    attempt(self)
    raise self.replace(add.s(1, 1) | add.s(1))


@app.task(bind=True)
def call_another_directly(self: Task) -> Any:
    """Call a task like the function that it is."""
    attempt(self)
    return _untold(3)


@app.task
def _untold(value: Any) -> Any:
    """Return what was given."""
    return value


@app.task(bind=True)
def run_another_eagerly(self: Task) -> str:
    """Run a task in this process by `apply`."""
    attempt(self)
    return ok.apply(("eager",)).id


@app.task(bind=True)
def own_pika_call(self: Task, url: str, queue: str) -> None:
    """Publish by pika for the task's own purposes."""
    import pika

    attempt(self)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue, auto_delete=True)
    channel.basic_publish("", queue, b"mine")
    connection.close()


@app.task(bind=True)
def tell_headers(self: Task) -> None:
    """Note what arrived beside the arguments."""
    attempt(self)
    note(
        self.request.id,
        "headers",
        headers=dict(self.request.headers or {}),
        delivery=self.request.delivery_info,
    )
