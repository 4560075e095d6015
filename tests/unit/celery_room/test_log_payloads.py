"""What Celery's own lines say about a payload stays in the process."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from otel_taskqueue.celery import logs
from otel_taskqueue.core.logs import outgoing

CONSUMER = "celery.worker.consumer.consumer"


@pytest.mark.parametrize(
    ("logger", "message", "args"),
    [
        (
            "celery.app.trace",
            "Task %(id)s succeeded: %(return_value)s",
            ({"id": "1", "return_value": "mine"},),
        ),
        (
            "celery.app.trace",
            "Task %(id)s: %(args)s %(kwargs)s",
            ({"id": "1", "args": "mine", "kwargs": "mine"},),
        ),
        ("celery.worker.strategy", "Couldn't convert ETA %r to timestamp: %r. Task: %r", (1, 2, "mine")),
        (CONSUMER, "Received and deleted unknown message. %s", ("mine",)),
        (CONSUMER, "Received unregistered task of type %s. %s %s %s", ("x", "mine", {"a": "mine"}, {})),
        (CONSUMER, "Received invalid task message: %s %s", ("x", "mine")),
        (CONSUMER, "Can't decode message body: %r [%r %r %s] %s", (1, 2, 3, "mine", "mine")),
        (CONSUMER, "Failed to cancel active request %r", ("mine",)),
        ("celery.pool", "TaskPool: Apply %s (args:%s kwargs:%s)", ("f", "mine", "mine")),
        ("celery.concurrency.asynpool", "got %r while flushing process %r", ("mine", 1)),
    ],
)
def test_celerys_own_lines_ship_without_payloads(logger: str, message: str, args: tuple[Any, ...]) -> None:
    """The record itself, which consoles print, stays as it was."""
    record = logging.LogRecord(logger, logging.INFO, __file__, 1, message, args, None)
    record.data = args[0]
    before = record.getMessage()
    shipped = outgoing.copy_of(record, [logs.as_shipped])
    assert "mine" not in shipped.getMessage()
    assert "…" in shipped.getMessage()
    assert "data" not in vars(shipped)
    assert (record.getMessage(), record.data) == (before, args[0])


@pytest.mark.parametrize("logger", ["shop", "celery.redirected"])
def test_lines_of_others_ship_as_they_are(logger: str) -> None:
    """Only Celery's own are known; what a task prints is the application's."""
    record = logging.LogRecord(logger, logging.INFO, __file__, 1, "%(args)s", ({"args": "mine"},), None)
    record.data = "mine"
    shipped = outgoing.copy_of(record, [logs.as_shipped])
    assert (shipped.getMessage(), vars(shipped)["data"]) == ("mine", "mine")
