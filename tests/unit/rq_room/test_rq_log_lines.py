"""What RQ's own lines say of a payload stays in the process; what they say of a failure is named."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest

from otel_taskqueue import semconv
from otel_taskqueue.core import oom, telemetry
from otel_taskqueue.core.logs import outgoing
from otel_taskqueue.rq import logs, notes


@pytest.mark.parametrize(
    ("message", "args", "text"),
    [
        ("%s: %s (%s)", ("q", "shop.ship('mine', 1)", "id"), "q: shop.ship(…) (id)"),
        (
            "Worker %s: %s: %s (%s)",
            ("w", "q", "my-tasks.pay('mine')", "id"),
            "Worker w: q: my-tasks.pay(…) (id)",
        ),
        ("%s: %s (%s)", ("q", "to pay: ('mine', 1)", "id"), "q: to pay: (…) (id)"),
        ("%s: %s (%s)", ("q", "\x1b[34mJob OK\x1b[39m", "id"), "q: Job OK (id)"),
        ("%s: %s (%s)", ("q", "the daily report", "id"), "q: the daily report (id)"),
        (
            "Successfully completed %s job in %ss",
            ("my pay('mine')", 1),
            "Successfully completed my pay(…) job in 1s",
        ),
        ("%s", ("\x1b[34mmy-shop.ship('mine')\x1b[39m",), "my-shop.ship(…)"),
        ("Worker %s: result: %r", ("w", "mine"), "Worker w: result: '…'"),
        ("%s", ("the daily report",), "the daily report"),
        ("no arguments", (), "no arguments"),
    ],
)
def test_rqs_own_lines_ship_without_payloads(message: str, args: tuple[Any, ...], text: str) -> None:
    """The record itself, which consoles print, stays as it was."""
    record = logging.LogRecord("rq.worker", logging.INFO, __file__, 1, message, args, None)
    record.arguments, record.kwargs = ("mine",), {"mine": 1}
    before = record.getMessage()
    shipped = outgoing.copy_of(record, [logs.as_shipped])
    assert shipped.getMessage() == text
    assert not {"arguments", "kwargs"} & set(vars(shipped))
    assert record.getMessage() == before
    assert record.arguments == ("mine",)


@pytest.mark.parametrize(
    ("message", "args", "text"),
    [
        ("Worker %s: %s: %s (%s)", ("w", "q", "pay for mine", "id"), "Worker w: q: shop.pay(…) (id)"),
        ("Successfully completed %s job", ("pay for mine",), "Successfully completed shop.pay(…) job"),
        ("Worker %s: %s: %s (%s)", ("w", "q", "Job OK", "id"), "Worker w: q: Job OK (id)"),
    ],
)
def test_a_job_s_task_stands_for_whatever_describes_it(
    message: str, args: tuple[Any, ...], text: str
) -> None:
    """A description is the user's, and may have the arguments in it."""
    record = logging.LogRecord("rq.worker", logging.INFO, __file__, 1, message, args, None)
    vars(record)[semconv.TASK_NAME] = "shop.pay"
    assert outgoing.copy_of(record, [logs.as_shipped]).getMessage() == text


def test_lines_of_others_ship_as_they_are() -> None:
    """Only RQ's own are known."""
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "%s", ("shop.ship('mine')",), None)
    assert outgoing.copy_of(record, [logs.as_shipped]).getMessage() == "shop.ship('mine')"


def test_the_line_about_an_exception_names_it() -> None:
    """RQ puts the traceback into the text alone; type and category come from what is being handled."""
    message = "Worker %s: job %s: exception raised while executing (%s)\n%s"
    args = ("w", "id", "shop.ship", "Traceback ...")
    record = logging.LogRecord("rq.worker", logging.ERROR, __file__, 1, message, args, None)
    try:
        raise ConnectionRefusedError(111, "refused")  # noqa: TRY301
    except ConnectionRefusedError:
        shipped = vars(outgoing.copy_of(record, [logs.as_shipped]))
    assert shipped["exception.type"] == "ConnectionRefusedError"
    assert shipped[semconv.FAILURE_CATEGORY] == "connection"
    assert record.exc_info is None


DIED = "Work-horse terminated unexpectedly; waitpid returned %s; "


@pytest.mark.parametrize(
    ("text", "status", "kills", "category"),
    [
        (DIED % "9 (signal 9)", 9, 0, "killed"),
        (DIED % "9 (signal 9)", 9, 1, "resource"),
        (DIED % "None", 9, 0, "timeout"),
        (DIED % "None", None, 0, "killed"),
        ("Job stopped by user, work-horse terminated.", 9, 0, None),
    ],
)
def test_lines_about_jobs_that_others_ended_have_the_category_of_the_verdict(
    text: str, status: int | None, kills: int, category: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the parent judges when the line is written: also that the kernel or RQ itself was it."""
    job: Any = SimpleNamespace(id="id")
    worker: Any = SimpleNamespace(name="w")
    attempt: Any = SimpleNamespace(owner=os.getpid())
    watch = notes.of_worker(worker).watch = notes.Watch(attempt, job, 0)
    watch.status = status
    monkeypatch.setattr(oom, "kills", lambda: kills)

    def execute(_worker: Any, _job: Any) -> Any:
        return category_in("Moving job to FailedJobRegistry (%s)", text)

    assert logs.about_job(telemetry.make(), then=lambda call: call)(execute)(worker, job) == category
    assert category_in("Moving job to FailedJobRegistry (%s)", text) is None, "of nobody's job"


@pytest.mark.parametrize(
    ("logger", "text", "category"),
    [
        ("rq.worker", "Worker w: job id has exceeded maximum retry attempts (3)", "unknown"),
        (
            "rq.registry",
            "cleanup: id Moved to FailedJobRegistry, due to AbandonedJobError, at 12:00",
            "killed",
        ),
        ("rq.worker", "Worker w: cold shut down", None),
    ],
)
def test_lines_about_other_ends_have_a_category(logger: str, text: str, category: str | None) -> None:
    """Those that RQ words without an exception."""
    assert category_in(text, logger=logger) == category


def category_in(message: str, *args: object, logger: str = "rq.worker") -> Any:
    """What a line of RQ ships with."""
    record = logging.LogRecord(logger, logging.WARNING, __file__, 1, message, args, None)
    return vars(outgoing.copy_of(record, [logs.as_shipped])).get(semconv.FAILURE_CATEGORY)


def test_a_line_whose_arguments_do_not_fit_is_no_error_of_ours() -> None:
    """A job may use RQ's logger, too."""
    assert category_in("%d items", "no") is None
