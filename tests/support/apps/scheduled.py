"""A Celery application with a schedule: ``TASKQUEUE_TEST_SCHEDULE`` maps names to seconds or a crontab."""

from __future__ import annotations

import json
import os
from typing import Any

from celery import Celery
from celery.schedules import crontab

app = Celery(
    "shop", broker=os.environ["TASKQUEUE_TEST_BROKER"], backend=os.environ.get("TASKQUEUE_TEST_BACKEND")
)
app.conf.timezone = "Europe/Berlin"
app.conf.task_default_queue = os.environ["TASKQUEUE_TEST_QUEUE"]


def _when(told: Any) -> Any:
    if not isinstance(told, str):
        return told
    minute, hour = told.split()
    return crontab(minute=minute, hour=hour)


app.conf.beat_schedule = {
    # What beat sends is not waited for: with results asked for, beat itself would talk to the backend.
    name: {"task": "shop.tick", "schedule": _when(told), "options": {"ignore_result": True}}
    for name, told in json.loads(os.environ["TASKQUEUE_TEST_SCHEDULE"]).items()
}


if "TASKQUEUE_TEST_ROUTE" in os.environ:

    def route(*_: Any, **__: Any) -> None:
        """Know no way."""
        raise LookupError("no route")

    app.conf.task_routes = (route,)


@app.task(name="shop.tick")
def tick() -> None:
    """Do nothing."""
