"""Celery tasks whose telemetry goes through a collector: many small ones, and one that spills secrets."""

from __future__ import annotations

import functools
import json
import logging
import os
from pathlib import Path
from typing import Any

from celery import Celery, Task
from opentelemetry import trace

from support.apps.notes import DIRECTORY

log = logging.getLogger("shop.orders")
# One line for each job is enough, and it is the job's own.
for name in ("celery.app.trace", "celery.worker.strategy"):
    logging.getLogger(name).setLevel(logging.WARNING)

app = Celery("collected", broker=os.environ["TASKQUEUE_TEST_BROKER"])
app.conf.update(
    task_ignore_result=True,
    task_default_queue=os.environ["TASKQUEUE_TEST_QUEUE"],
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=64,
    **json.loads(os.environ.get("TASKQUEUE_TEST_CONF", "{}")),
)


@functools.cache
def _told(pid: int) -> int:
    path = Path(os.environ[DIRECTORY]) / f"told-{pid}.txt"
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


@app.task(bind=True, name="shop.step")
def step(self: Task) -> None:
    """Log a line, then tell the test beside telemetry which spans and which line there must be."""
    log.info("line of %s", self.request.id)
    span: Any = trace.get_current_span()
    told = f"{self.request.id} {span.context.span_id:016x} {span.parent.span_id:016x}\n"
    os.write(_told(os.getpid()), told.encode())


class RefusedError(Exception):
    """Says too much."""


@app.task(name="shop.spill")
def spill(contact: str, password: str, phrase: str, url: str, header: str) -> None:
    """Say secrets in every way that telemetry knows, as careless code does."""
    log.debug("a line for developers")
    log.info("order 42 paid by %s with password=%s", contact, password)
    log.info("answered", extra={"password": password, "mail": f"to {contact}", "request": {"auth": header}})
    trace.get_current_span().set_attribute("shop.contact", contact)
    log.info({"order": 42, "contact": contact, "nested": {"api_key": password}})
    raise RefusedError(f"order 42 refused: passphrase: '{phrase}', {header}, {url}, ask {contact}")
