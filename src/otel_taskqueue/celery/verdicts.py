"""Celery's states and exceptions -> verdicts: the table of how an attempt can end."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

from otel_taskqueue.celery import job as _job
from otel_taskqueue.celery.compat import unwrap
from otel_taskqueue.core import failure
from otel_taskqueue.core.failure import SUCCESS, Again, Exit, Verdict
from otel_taskqueue.semconv import Outcome

_SOFT_LIMIT = "SoftTimeLimitExceeded"
_HARD_LIMIT = "billiard.exceptions.TimeLimitExceeded"
#: What the gevent pool raises in the greenlet at a hard time limit; eventlet's knows no limits.
_GREEN_TIMEOUT = "gevent.timeout.Timeout"
_GREEN_KILL = "greenlet.GreenletExit"
#: By which Celery takes a running attempt back from a child (billiard's TERM_SIGNAME).
_CANCEL = "SIGTERM"
#: Celery's exceptions that are no failures -> the state in which they end an attempt.
STATES = {"Retry": "RETRY", "Ignore": "IGNORED", "Reject": "REJECTED"}
_SIGNAL = re.compile(r"signal (\d+)")
_EXIT_CODE = re.compile(r"exitcode (-?\d+)")


def of_result(task: Any, result: Any) -> Verdict:
    """The verdict in what a tracer returns (``trace_ok_t``; ``info`` is None on success)."""
    info = result[1]
    if info is None:
        return SUCCESS
    return of_state(task, info.state, unwrap(info.retval), getattr(result[0], "traceback", None))


def of_state(task: Any, state: str, error: BaseException, stacktrace: str | None) -> Verdict:
    """The verdict on an attempt that Celery ended in this state with this exception."""
    if state == "RETRY":
        return of_retry(error)
    if state == "IGNORED":
        return Verdict(Outcome.IGNORED)
    if state == "REJECTED":
        return of_reject(error)
    return of_failure(task, error, stacktrace)


def of_failure(task: Any, error: BaseException, stacktrace: str | None = None) -> Verdict:
    """An exception that ended the attempt: expected (``throws``), a time limit, or a failure."""
    raised = failure.raised(error, stacktrace)
    expected: tuple[type[BaseException], ...] = tuple(getattr(task, "throws", None) or ())
    if expected and isinstance(error, expected):
        return Verdict(Outcome.FAILURE, raised, error=False, record=False)
    if type(error).__name__ == _SOFT_LIMIT:
        return _soft_limit(raised)
    return Verdict(Outcome.FAILURE, raised)


def of_retry(retry: Any) -> Verdict:
    """`Task.retry`, by hand or automatic; a soft time limit stays a timeout when it is retried."""
    cause: Any = getattr(retry, "exc", None)
    delay = getattr(retry, "when", None)
    again = again_because(cause, delay) if cause else Again(_delay(delay), str(retry))
    if type(cause).__name__ == _SOFT_LIMIT:
        return _soft_limit(failure.raised(cause)).retried(again)
    category = failure.category_of(cause) if isinstance(cause, BaseException) else None
    return Verdict(Outcome.RETRY, again=again._replace(category=category))


def again_because(error: Any, delay: Any) -> Again:
    """Another attempt was asked for because of an exception; ``delay`` as Celery has it."""
    return Again(_delay(delay), f"{type(error).__name__}: {failure.message_of(error)}")


def of_reject(reject: Any) -> Verdict:
    """`Reject`: back to the queue, or dropped for good."""
    if reject.requeue:
        return Verdict(Outcome.REJECTED, error=False, requeued=True)
    reason: Any = reject.reason
    if isinstance(reason, BaseException):
        return Verdict(Outcome.REJECTED, failure.raised(reason), record=False)
    name = "celery.exceptions.Reject"
    return Verdict(Outcome.REJECTED, failure.reported(name, str(reason or "rejected")), record=False)


def of_exception(task: Any, error: BaseException, *, watched: bool) -> Verdict | None:
    """An exception that left the tracer; None when the worker's parent judges (the child is stopped)."""
    name = failure.qualified_name(type(error))
    if isinstance(error, SystemExit):
        return None if watched else of_exit(error)
    if name == _GREEN_TIMEOUT:
        return of_hard_limit(None, getattr(error, "seconds", None))
    if name == _GREEN_KILL:
        return Verdict(Outcome.REVOKED)
    state = STATES.get(type(error).__name__, "FAILURE")  # an eager run with throw=True raises them
    return of_state(task, state, error, None)


def of_exit(error: SystemExit) -> Verdict:
    """A task that called `sys.exit`, or a worker that stopped in its middle: the run is lost."""
    code = error.code if isinstance(error.code, int) else int(error.code is not None)
    return Verdict(Outcome.LOST, failure.raised(error), exit=Exit(code=code))


def of_lost(einfo: Any, again: Again | None, *, oom: bool) -> Verdict:
    """`WorkerLostError`: the child died; its signal or exit code is in billiard's message."""
    error = unwrap(einfo.exception)
    if isinstance(error, SystemExit):
        return of_exit(error).retried(again)
    message = failure.message_of(error)
    stacktrace = getattr(einfo, "traceback", "") or ""
    raised = failure.reported(failure.qualified_name(type(error)), message, stacktrace)
    return Verdict(Outcome.LOST, raised, exit=_exit_in(message, oom=oom)).retried(again)


def of_hard_limit(error: BaseException | None, limit: float | None) -> Verdict:
    """The hard time limit, as Celery reports it."""
    message = failure.message_of(error) if error is not None else f"TimeLimitExceeded({limit},)"
    return Verdict(
        Outcome.TIMEOUT, failure.reported(_HARD_LIMIT, message), description="hard time limit exceeded"
    )


def of_revoke(signum: Any, *, expired: bool) -> Verdict:
    """Revoked or expired, before the start or (with a signal) during the run."""
    if expired:
        return Verdict(Outcome.EXPIRED)
    name = failure.signal_name(signum) if isinstance(signum, int) else None
    return Verdict(Outcome.REVOKED, exit=Exit(signal=name) if name else None)


def of_cancel(*, requeued: bool, in_greenlet: bool) -> Verdict:
    """The worker took a running attempt back: in its cold shutdown, or without its broker's connection."""
    words = "cancelled by Celery: the worker stopped, or lost its connection to the broker"
    if in_greenlet:
        raised = failure.reported(_GREEN_KILL, "")
        return Verdict(Outcome.LOST, raised, description=words, requeued=requeued)
    return Verdict(Outcome.LOST, exit=Exit(signal=_CANCEL), description=words, requeued=requeued)


def _soft_limit(raised: failure.Raised) -> Verdict:
    return Verdict(Outcome.TIMEOUT, raised, description="soft time limit exceeded")


def _exit_in(message: str, *, oom: bool) -> Exit | None:
    killed = _SIGNAL.search(message)
    if killed:
        return Exit(signal=failure.signal_name(int(killed[1])), oom=oom)
    code = _EXIT_CODE.search(message)
    return Exit(code=int(code[1])) if code else None


def _delay(when: Any) -> float | None:
    if isinstance(when, (int, float)):
        return float(when)
    if isinstance(when, datetime):
        return max(0.0, _job.nanoseconds(when) / 1e9 - time.time())
    return None
