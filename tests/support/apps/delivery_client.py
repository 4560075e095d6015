"""A client that enqueues many jobs in one call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from celery.states import READY_STATES

from support.apps.celery_client import OPERATIONS, app, state
from support.apps.client import serve


def publish_many(
    name: str, count: int, args: Sequence[Any] = (), every: float = 0.0, queue: str | None = None
) -> list[str]:
    """Enqueue ``count`` jobs, one every ``every`` seconds; return their ids."""
    ids: list[str] = []
    started = time.monotonic()
    for number in range(count):
        ids.append(app.send_task(name, args, queue=queue).id)
        time.sleep(max(0.0, started + number * every - time.monotonic()))
    return ids


def wait_for_states(ids: Sequence[str], within: float) -> list[str]:
    """Wait until Celery has a result of every job; return those without one."""
    deadline = time.monotonic() + within
    waiting = list(ids)
    while waiting and time.monotonic() < deadline:
        waiting = [job_id for job_id in waiting if state(job_id) not in READY_STATES]
        time.sleep(0.02)
    return waiting


if __name__ == "__main__":
    serve({**OPERATIONS, "publish_many": publish_many, "wait_for_states": wait_for_states})
