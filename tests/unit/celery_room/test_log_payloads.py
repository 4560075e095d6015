"""Lines of Celery and kombu: what they say of a payload stays in the process, of a failure it is named."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery import Celery
from celery.exceptions import Ignore, InvalidTaskError, Reject, Retry

from otel_taskqueue import semconv
from otel_taskqueue.celery import logs
from otel_taskqueue.core import oom, telemetry
from otel_taskqueue.core.logs import fields, outgoing

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
        ("celery.worker.loops", "Error cancelling hub timer entry %r: %r", ("mine", 1)),
        ("kombu.transport.redis", "Could not restore message: %r", ({"body": "mine"},)),
        ("kombu.transport.redis", "Could not restore message: %r", (["mine"],)),
        ("kombu.transport.redis", "Cannot process event on channel %r: %s", ("/0.x", "mine")),
        (
            "kombu.transport.gcpubsub",
            "queue:%s got message, ack_id: %s, payload: %s",
            ("q", 1, {"a": "mine"}),
        ),
        ("kombu.mixins", "Can't decode message body: %r (type:%r encoding:%r raw:%r')", (1, 2, 3, "mine")),
        ("kombu.channel", "[Kombu channel:1] basic_publish('mine', exchange='')", ()),
        ("celery.beat", "Current schedule:\n<ScheduleEntry: pay shop.pay('mine') 1.0>", ()),
    ],
)
def test_celerys_own_lines_ship_without_payloads(logger: str, message: str, args: tuple[Any, ...]) -> None:
    """The record itself, which consoles print, stays as it was."""
    record = logging.LogRecord(logger, logging.INFO, __file__, 1, message, args, None)
    record.data = data = args[0] if args else None
    before = record.getMessage()
    shipped = outgoing.copy_of(record, [logs.as_shipped])
    assert "mine" not in shipped.getMessage()
    assert "…" in shipped.getMessage()
    assert "data" not in vars(shipped)
    assert (record.getMessage(), record.data) == (before, data)


def category_in(logger: str, message: str, *args: Any, error: BaseException | None = None) -> Any:
    """What a line ships with."""
    exc_info = (type(error), error, None) if error is not None else None
    record = logging.LogRecord(logger, logging.ERROR, __file__, 1, message, args, exc_info)
    return vars(outgoing.copy_of(record, [logs.as_shipped])).get(semconv.FAILURE_CATEGORY)


class Again(Retry):
    """A retry as an application makes one of its own."""


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (ConnectionRefusedError(), "connection"),
        (Retry(exc=MemoryError()), "resource"),
        (Again(exc=MemoryError()), "resource"),
        (Retry(exc=SoftTimeLimitExceeded()), "timeout"),
        (Retry(), None),
        (Ignore(), None),
        (Reject(requeue=True), None),
        (Reject(TypeError()), "code"),
        (Reject("why"), "data"),
    ],
)
def test_the_tracer_s_lines_have_the_category_of_the_verdict(error: Exception, category: str | None) -> None:
    """Of what is being handled: the record holds no exception, or one that stands in for it."""
    try:
        raise error  # noqa: TRY301
    except Exception:  # noqa: BLE001  whichever it is
        found = category_in("celery.app.trace", "Task %(name)s retry: %(exc)s", {"name": "x", "exc": "y"})
        other = category_in("celery.app.trace", "Task %(name)s succeeded", {"name": "x"}, error=error)
    assert (found, other) == (category, None)


@pytest.mark.parametrize(
    ("message", "args", "error", "category"),
    [
        ("Hard time limit (%ss) exceeded for %s[%s]", (3, "x", "id"), None, "timeout"),
        ("Soft time limit (%ss) exceeded for %s[%s]", (3, "x", "id"), None, None),
        ("Task handler raised error: %r", ("",), WorkerLostError("signal 9 (SIGKILL)"), "killed"),
        ("Task handler raised error: %r", ("",), TimeLimitExceeded(3), "timeout"),
        ("Task handler raised error: %r", ("",), UnicodeError(), "data"),
        ("Task %s[%s] retry: %s", ("x", "id", Retry(exc=WorkerLostError("signal 9"))), None, "killed"),
        ("Failed to retry task %s[%s]: %r", ("x", "id", ""), ConnectionError(), None),
    ],
)
def test_the_parent_s_lines_have_the_category_of_the_verdict(
    message: str, args: tuple[Any, ...], error: BaseException | None, category: str | None
) -> None:
    """Those that tell of an end, and no others."""
    assert category_in("celery.worker.request", message, *args, error=error) == category


def test_a_child_that_the_kernel_killed_for_its_memory_was_out_of_resources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The parent says so of the attempt, too; and the next death has nothing to do with it."""
    monkeypatch.setattr(oom, "kills", lambda: 7)
    monkeypatch.setattr(logs, "_oom", oom.Evidence())
    line = ("celery.worker.request", "Task handler raised error: %r", "")
    seen = [category_in(*line, error=WorkerLostError("signal 9"))]
    monkeypatch.setattr(oom, "kills", lambda: 8)
    seen += [category_in(*line, error=WorkerLostError("signal 9")) for _ in range(2)]
    assert seen == ["killed", "resource", "killed"]


@pytest.mark.parametrize(
    ("message", "error", "category"),
    [
        ("Received unregistered task of type %s.", KeyError("x"), "code"),
        ("Received invalid task message: %s", InvalidTaskError(), "data"),
        ("Can't decode message body: %r", RuntimeError(), "data"),
        ("Received and deleted unknown message. %s", None, "data"),
        ("Couldn't ack %r, reason:%r", ConnectionError(), None),
    ],
)
def test_lines_about_what_never_ran_have_the_category_of_the_verdict(
    message: str, error: BaseException | None, category: str | None
) -> None:
    """Not of the exception that the consumer happened to meet."""
    assert category_in(CONSUMER, message, error=error) == category


def test_what_the_consumer_says_of_a_message_without_a_request_names_the_job() -> None:
    """From the message's headers; those of a message that is none say nothing."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    consumer = SimpleNamespace(app=app, hostname="w1")
    told: list[dict[str, Any]] = []

    def on_decode_error(_consumer: Any, message: Any, exc: Exception) -> None:
        record = logging.LogRecord(CONSUMER, logging.ERROR, __file__, 1, "no", (), None)
        fields.fill(record)
        told.append({name: vars(record).get(name) for name in fields.NAMES})

    call = logs.about_message(telemetry.make(), 0)(on_decode_error)
    for headers in ({"id": "j1", "task": "shop.pay", "retries": 2}, {}, None):
        message = SimpleNamespace(headers=headers, delivery_info={"routing_key": "orders"})
        call(consumer, message, exc=ValueError())
    names = dict(zip(fields.NAMES, ("memory", "orders", "j1", "celery", "shop.pay", 3, "w1"), strict=True))
    assert told == [names, dict.fromkeys(fields.NAMES), dict.fromkeys(fields.NAMES)]


@pytest.mark.parametrize("logger", ["shop", "celery.redirected"])
def test_lines_of_others_ship_as_they_are(logger: str) -> None:
    """Only Celery's own are known; what a task prints is the application's."""
    record = logging.LogRecord(logger, logging.INFO, __file__, 1, "%(args)s", ({"args": "mine"},), None)
    record.data = "mine"
    shipped = outgoing.copy_of(record, [logs.as_shipped])
    assert (shipped.getMessage(), vars(shipped)["data"]) == ("mine", "mine")
