"""The application of the real workers: one task that does nothing, for Celery and for RQ."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("benchmarks", broker=os.environ.get("BROKER", "memory://"))
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 16


@app.task(name="shop.noop")
def noop() -> None:
    """Nothing: what is left is the cost of running it."""
