"""A Celery application whose queues are observed, and RQ jobs; run as a program it enqueues.

``python -m support.apps.observed '[{"queue": "mail", "times": 3, "priority": 6}]'``
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery

import otel_taskqueue

app = Celery("observed", broker=os.environ.get("TASKQUEUE_TEST_BROKER"))
app.conf.update(
    task_default_queue="mail",
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    **json.loads(os.environ.get("TASKQUEUE_TEST_CONF", "{}")),
)


@app.task(name="observed.done")
def done() -> None:
    """Nothing."""


@app.task(name="observed.hold", acks_late=True)
def hold(path: str) -> None:
    """Last until the file is there; not acknowledged until then."""
    until(path)


def until(path: str) -> None:
    """Last until the file is there."""
    while not Path(path).exists():
        time.sleep(0.05)


def fail() -> None:
    """Raise."""
    raise ValueError


def main(orders: list[dict[str, Any]]) -> None:
    """Enqueue what each order says, in an instrumented process."""
    for order in orders:
        if not order.pop("bare", False):
            otel_taskqueue.instrument()
        task = hold if "args" in order else done
        for _ in range(order.pop("times", 1)):
            task.apply_async(**order)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
