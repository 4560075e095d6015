"""Celery's states and exceptions -> outcome, status, error.type: the table of design D8."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import gevent
import pytest
from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import SoftTimeLimitExceeded, WorkerLostError
from celery.exceptions import Ignore, Reject, Retry

from otel_taskqueue.celery import verdicts
from otel_taskqueue.celery.compat import unwrap
from otel_taskqueue.core.failure import Verdict, attributes_of, description_of

WORKER_LOST = "billiard.exceptions.WorkerLostError"
HARD_LIMIT = "billiard.exceptions.TimeLimitExceeded"
TASK = SimpleNamespace(throws=(KeyError,))
PLAIN = SimpleNamespace(throws=None)


EventletTimeout = type("Timeout", (BaseException,), {"__module__": "eventlet.timeout"})


def told(verdict: Verdict) -> tuple[str, bool, str | None, bool]:
    """Outcome, status, error.type, and whether an exception is recorded."""
    return (verdict.outcome.value, verdict.is_error, verdict.error_type, verdict.exception is not None)


@pytest.mark.parametrize(
    ("state", "error", "expected"),
    [
        ("FAILURE", ValueError("x"), ("failure", True, "ValueError", True)),
        ("FAILURE", KeyError("x"), ("failure", False, "KeyError", False)),
        (
            "FAILURE",
            SoftTimeLimitExceeded(),
            ("timeout", True, "billiard.exceptions.SoftTimeLimitExceeded", True),
        ),
        ("RETRY", Retry(exc=ValueError("x"), when=3), ("retry", False, None, False)),
        (
            "RETRY",
            Retry(exc=SoftTimeLimitExceeded()),
            ("timeout", True, "billiard.exceptions.SoftTimeLimitExceeded", False),
        ),
        ("IGNORED", Ignore(), ("ignored", False, None, False)),
        ("REJECTED", Reject("x", requeue=True), ("rejected", False, None, False)),
        ("REJECTED", Reject("x", requeue=False), ("rejected", True, "celery.exceptions.Reject", False)),
        ("REJECTED", Reject(OSError("x")), ("rejected", True, "OSError", False)),
    ],
)
def test_how_a_state_is_told(
    state: str, error: BaseException, expected: tuple[str, bool, str | None, bool]
) -> None:
    """Expected exceptions (`throws`) are no errors; a soft time limit stays a timeout when retried.

    Its exception is in the event of the retry, as that of any retried attempt.
    """
    assert told(verdicts.of_state(TASK, state, error, "a traceback")) == expected


@pytest.mark.parametrize(("when", "delay"), [(3, 3.0), (0.5, 0.5), (None, None), ("soon", None)])
def test_the_delay_of_a_retry_is_told_in_seconds(when: object, delay: float | None) -> None:
    """As far as Celery knows it."""
    retry = SimpleNamespace(exc=ValueError("busy"), when=when)
    again = verdicts.of_retry(retry).again
    assert again == (delay, "ValueError: busy", "data")


def test_the_delay_of_a_retry_with_an_eta_counts_from_now() -> None:
    """A moment that has passed is no negative delay."""
    for seconds, least, most in ((60, 55, 60), (-60, 0, 0)):
        retry = Retry(exc=None, when=datetime.now(timezone.utc) + timedelta(seconds=seconds))
        again = verdicts.of_retry(retry).again
        assert again is not None
        assert again.delay is not None
        assert least <= again.delay <= most


@pytest.mark.parametrize(
    ("message", "signal", "code"),
    [
        ("Worker exited prematurely: signal 9 (SIGKILL) Job: 0.", "SIGKILL", None),
        ("Worker exited prematurely: signal 11 (SIGSEGV) Job: 3.", "SIGSEGV", None),
        ("Worker exited prematurely: exitcode 155 Job: 1.", None, 155),
        ("Could not start worker processes", None, None),
    ],
)
def test_a_lost_child_s_signal_or_exit_code_is_in_billiard_s_message(
    message: str, signal: str | None, code: int | None
) -> None:
    """The one place where Celery tells it."""
    einfo = SimpleNamespace(exception=WorkerLostError(message), traceback="")
    verdict = verdicts.of_lost(einfo, None, oom=False)
    assert told(verdict) == ("lost", True, WORKER_LOST, True)
    ended = verdict.exit
    assert (ended.signal if ended else None, ended.code if ended else None) == (signal, code)


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 0."), WORKER_LOST),
        (SystemExit(3), "SystemExit"),
    ],
)
def test_a_lost_attempt_that_is_retried_has_its_exception_in_the_event(
    error: BaseException, error_type: str
) -> None:
    """Celery 5.7 retries in the name of the dead child, after a delay that may be a whole number."""
    again = verdicts.again_because(error, 3)
    verdict = verdicts.of_lost(SimpleNamespace(exception=error, traceback=""), again, oom=False)
    assert told(verdict) == ("lost", True, error_type, False)
    assert verdict.again is not None
    assert (verdict.again.category, verdict.again.delay) == ("killed", 3.0)
    assert isinstance(verdict.again.delay, float)
    assert verdict.again.reason == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    ("in_greenlet", "error_type", "signal", "category"),
    [(False, "SIGTERM", "SIGTERM", "killed"), (True, "greenlet.GreenletExit", None, "cancelled")],
)
def test_an_attempt_that_celery_takes_back_is_lost_by_what_ended_it(
    *, in_greenlet: bool, error_type: str, signal: str | None, category: str
) -> None:
    """A child gets a signal, a greenlet an exception."""
    verdict = verdicts.of_cancel(requeued=False, in_greenlet=in_greenlet)
    assert (verdict.outcome.value, verdict.is_error, verdict.error_type) == ("lost", True, error_type)
    assert verdict.category == category
    assert attributes_of(verdict).get("taskqueue.exit.signal") == signal


@pytest.mark.parametrize(
    ("error", "watched", "expected"),
    [
        (SystemExit(3), True, None),
        (SystemExit(3), False, ("lost", True, "SystemExit", True)),
        (Retry(exc=ValueError("x")), False, ("retry", False, None, False)),
        (Ignore(), False, ("ignored", False, None, False)),
        (Reject("x", requeue=True), False, ("rejected", False, None, False)),
        (MemoryError("x"), True, ("failure", True, "MemoryError", True)),
        (gevent.Timeout(1), False, ("timeout", True, HARD_LIMIT, True)),
        # Celery sets no limit on eventlet: this one is the application's own.
        (EventletTimeout(1), False, ("failure", True, "eventlet.timeout.Timeout", True)),
    ],
)
def test_an_exception_that_leaves_the_tracer_is_judged_here_or_by_the_parent(
    error: BaseException, *, watched: bool, expected: tuple[str, bool, str | None, bool] | None
) -> None:
    """A child that is stopped leaves the verdict to its parent."""
    verdict = verdicts.of_exception(PLAIN, error, watched=watched)
    assert (told(verdict) if verdict else None) == expected


def test_only_billiard_s_wrapper_is_unwrapped() -> None:
    """`Retry` has an ``exc`` too; unwrapping it would count a retry as a failure."""
    cause = ValueError("x")
    assert unwrap(ExceptionWithTraceback(cause, None)) is cause
    retry = Retry(exc=cause)
    assert unwrap(retry) is retry


def test_expired_and_revoked_are_no_errors() -> None:
    """With the signal of a termination."""
    assert told(verdicts.of_revoke(None, expired=True)) == ("expired", False, None, False)
    terminated = verdicts.of_revoke(15, expired=False)
    assert told(terminated) == ("revoked", False, None, False)
    assert terminated.exit is not None
    assert terminated.exit.signal == "SIGTERM"


def test_a_hard_limit_is_a_timeout_with_celery_s_words() -> None:
    """Whether or not Celery hands the exception over; on gevent it is called as everywhere."""
    in_greenlet = verdicts.of_exception(PLAIN, gevent.Timeout(1.0), watched=False)
    for verdict in (verdicts.of_hard_limit(None, 1.0), in_greenlet):
        assert verdict is not None
        assert told(verdict) == ("timeout", True, HARD_LIMIT, True)
        assert description_of(verdict) == "hard time limit exceeded"
        assert verdict.raised is not None
        assert verdict.raised.message == "TimeLimitExceeded(1.0,)"
        assert verdict.category == "timeout"
