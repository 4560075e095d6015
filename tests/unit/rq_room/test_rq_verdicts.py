"""RQ's exceptions, statuses and dead work-horses -> outcome, status, what is recorded."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
from rq.exceptions import AbandonedJobError, ShutDownImminentException
from rq.timeouts import JobTimeoutException

from otel_taskqueue.core.failure import Again, attributes_of
from otel_taskqueue.rq import verdicts
from otel_taskqueue.rq.notes import JobNotes, Watch
from otel_taskqueue.semconv import Outcome

AGAIN = Again(2.0, "because")


def run(**values: Any) -> JobNotes:
    """The notes after a run."""
    notes = JobNotes()
    for name, value in values.items():
        setattr(notes, name, value)
    return notes


def watch(status: int | None, **values: Any) -> Watch:
    """A work-horse that is dead."""
    found = Watch(SimpleNamespace(owner=os.getpid()), None, None)  # type: ignore[arg-type]
    found.status = status
    for name, value in values.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("notes", "outcome", "is_error", "error_type", "recorded"),
    [
        (run(), Outcome.SUCCESS, False, None, False),
        (run(error=ValueError("x")), Outcome.FAILURE, True, "ValueError", True),
        (run(error=SystemExit(3)), Outcome.FAILURE, True, "SystemExit", True),
        (run(error=ValueError("x"), again=AGAIN), Outcome.RETRY, False, None, False),
        (run(asked=True, again=AGAIN), Outcome.RETRY, False, None, False),
        (run(asked=True), Outcome.FAILURE, True, "failure", False),
        (
            run(error=JobTimeoutException("1 s")),
            Outcome.TIMEOUT,
            True,
            "rq.timeouts.JobTimeoutException",
            True,
        ),
        (
            run(error=JobTimeoutException("1 s"), again=AGAIN),
            Outcome.TIMEOUT,
            True,
            "rq.timeouts.JobTimeoutException",
            False,
        ),
        (
            run(error=ShutDownImminentException("now", {})),
            Outcome.LOST,
            True,
            "rq.exceptions.ShutDownImminentException",
            True,
        ),
    ],
)
def test_a_run_that_ended_by_itself(
    notes: JobNotes, outcome: Outcome, is_error: Any, error_type: str | None, recorded: Any
) -> None:
    """The table of outcomes, as RQ has them."""
    verdict = verdicts.of_run(notes)
    assert (verdict.outcome, verdict.is_error, verdict.error_type) == (outcome, is_error, error_type)
    assert (verdict.exception is not None) == recorded
    assert (verdict.again is not None) == (notes.again is not None)


def test_a_returned_retry_has_a_reason_too() -> None:
    """There is no exception to name."""
    verdict = verdicts.of_run(run(asked=True, again=Again(0.0)))
    assert verdict.again == Again(0.0, "the job returned a Retry")


def test_a_killed_work_horse_is_lost_by_its_signal() -> None:
    """No exception: the signal is the error's type."""
    verdict = verdicts.of_dead_horse(watch(signal.SIGKILL), None, oom=True)
    assert (verdict.outcome, verdict.error_type, verdict.exception) == (Outcome.LOST, "SIGKILL", None)
    assert attributes_of(verdict)["taskqueue.exit.oom"] is True


def test_a_work_horse_that_left_is_lost_by_its_exit_code() -> None:
    """os._exit(7) is a wait status of 7 << 8."""
    verdict = verdicts.of_dead_horse(watch(7 << 8), AGAIN, oom=False)
    assert (verdict.outcome, verdict.error_type) == (Outcome.LOST, "exit_code")
    assert verdict.again == AGAIN._replace(category="killed")
    assert attributes_of(verdict)["taskqueue.exit.code"] == 7


def test_killed_by_the_parent_a_minute_after_its_timeout_is_a_timeout() -> None:
    """RQ's backstop."""
    verdict = verdicts.of_dead_horse(watch(signal.SIGKILL, overdue=True), None, oom=False)
    assert (verdict.outcome, verdict.is_error) == (Outcome.TIMEOUT, True)


def test_stopped_by_a_command_is_revoked_and_no_error() -> None:
    """Somebody wanted it."""
    verdict = verdicts.of_stop(watch(signal.SIGKILL))
    assert (verdict.outcome, verdict.is_error, verdict.error_type) == (Outcome.REVOKED, False, None)


def test_a_cold_shutdown_is_lost() -> None:
    """SystemExit leaves the worker's loop."""
    verdict = verdicts.of_shutdown(watch(signal.SIGKILL), SystemExit())
    assert (verdict.outcome, verdict.description) == (Outcome.LOST, "cold shutdown of the worker")


@pytest.mark.parametrize(("again", "recorded"), [(None, True), (Again(0.0), False)])
def test_an_abandoned_job_is_lost_by_rqs_own_exception(again: Again | None, recorded: Any) -> None:
    """Recorded unless it is tried again."""
    verdict = verdicts.of_abandoned(AbandonedJobError, again, "nobody knows")
    assert verdict.error_type == "rq.exceptions.AbandonedJobError"
    assert (verdict.exception is not None) == recorded
    assert verdict.again == (None if again is None else Again(0.0, "nobody knows", "killed"))


def test_a_timeout_that_is_retried_names_its_category_in_the_event() -> None:
    """There is no exception on the span to tell it."""
    verdict = verdicts.of_run(run(error=JobTimeoutException("1 s"), again=AGAIN))
    assert verdict.again == AGAIN._replace(category="timeout")


def test_a_job_lost_between_queue_and_worker_is_known_by_its_outcome() -> None:
    """RQ has neither an exception for it nor a process that ended."""
    verdict = verdicts.of_abandoned(None, None, "taken from the queue")
    assert (verdict.error_type, verdict.category, verdict.exception) == ("lost", "killed", None)


TRACEBACK = """Traceback (most recent call last):
  File "shop.py", line 3, in pay
    raise OrderError("none: of them")
"""


@pytest.mark.parametrize(
    ("status", "traceback", "outcome", "error_type"),
    [
        ("finished", "", Outcome.SUCCESS, None),
        ("failed", "", Outcome.FAILURE, "failure"),
        ("failed", "Work-horse terminated unexpectedly; waitpid returned 9", Outcome.FAILURE, "failure"),
        ("failed", f"{TRACEBACK}shop.OrderError: none: of them\n", Outcome.FAILURE, "shop.OrderError"),
        ("failed", f"{TRACEBACK}KeyError\n", Outcome.FAILURE, "KeyError"),
        (
            "failed",
            f"{TRACEBACK}rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value (1 seconds)",
            Outcome.TIMEOUT,
            "rq.timeouts.JobTimeoutException",
        ),
        ("queued", "", Outcome.RETRY, None),
        ("scheduled", "", Outcome.RETRY, None),
        ("started", "", Outcome.RETRY, None),
    ],
)
def test_where_the_work_horses_word_was_lost_what_is_stored_tells(
    status: str, traceback: str, outcome: Outcome, error_type: str | None
) -> None:
    """FINISHED stored before the work-horse died stays a success."""
    verdict = verdicts.of_status(status, traceback)
    assert (verdict.outcome, verdict.error_type) == (outcome, error_type)
    assert (verdict.is_final, verdict.again is None) == ((outcome is not Outcome.RETRY,) * 2)


@pytest.mark.parametrize(("left", "final"), [(None, True), (0, True), (2, False)])
def test_a_work_horse_that_left_as_if_all_was_well_is_lost(left: int | None, final: Any) -> None:
    """RQ keeps the job as started: its maintenance tries again, if it may."""
    silent = watch(0, job=SimpleNamespace(retries_left=left))
    verdict = verdicts.of_silent_horse(silent)
    assert (verdict.outcome, verdict.error_type, verdict.is_final) == (Outcome.LOST, "exit_code", final)
