"""A client that enqueues jobs of the log tests into any queue of either library."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from celery import Celery
from rq import Queue, Retry
from rq.command import send_stop_job_command

from support.apps.client import serve

app = Celery("shop", broker=os.environ["TASKQUEUE_TEST_BROKER"], backend=os.environ["TASKQUEUE_TEST_BROKER"])
connection = redis.Redis.from_url(os.environ["TASKQUEUE_TEST_BROKER"])


def celery(
    name: str, queue: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
) -> str:
    """Send a Celery task by its name."""
    return app.send_task(
        f"support.apps.logs_celery.{name}", args, dict(kwargs or {}), queue=queue, **options
    ).id


def rq(
    name: str,
    queue: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    retries: int = 0,
    **options: Any,
) -> str:
    """Enqueue an RQ job by its name."""
    options["retry"] = Retry(max=retries) if retries else None
    found = Queue(queue, connection=connection)
    return found.enqueue(f"support.apps.logs_rq.{name}", args=args, kwargs=dict(kwargs or {}), **options).id


def revoke(job_id: str, *, terminate: bool = False) -> None:
    """Revoke a Celery task."""
    app.control.revoke(job_id, terminate=terminate)


def stop(job_id: str) -> None:
    """Stop an RQ job."""
    send_stop_job_command(connection, job_id)


if __name__ == "__main__":
    serve({operation.__name__: operation for operation in (celery, rq, revoke, stop)})
