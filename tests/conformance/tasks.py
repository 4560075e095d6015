"""Celery tasks of scenarios that no other test needs; the worker imports them beside its application."""

from __future__ import annotations

import os
import signal
import time

from celery import Task
from celery.exceptions import SoftTimeLimitExceeded

from support.apps.celery_app import app, attempt


@app.task(
    bind=True,
    soft_time_limit=1,
    autoretry_for=(SoftTimeLimitExceeded,),
    max_retries=1,
    default_retry_delay=0.2,
)
def soft_limit_once(self: Task) -> str:
    """Run into the soft limit the first time."""
    if attempt(self) == 0:
        time.sleep(30)
    return "second time"


# The delay is a whole number, as Celery's own is: the event's must not be.
@app.task(bind=True, retry_on_worker_lost=True, max_retries=1, default_retry_delay=1)
def killed_once(self: Task) -> str:
    """Kill the child the first time; Celery 5.7 retries in its name."""
    if attempt(self) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(30)
    return "second time"
