"""RQ's exceptions, statuses and dead work-horses -> verdicts: the table of how an attempt can end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from otel_taskqueue.core import failure
from otel_taskqueue.core.failure import SUCCESS, Verdict
from otel_taskqueue.rq import compat
from otel_taskqueue.semconv import Outcome

if TYPE_CHECKING:
    from otel_taskqueue.core.failure import Again
    from otel_taskqueue.rq.notes import JobNotes, Watch

_TIMEOUT = "BaseTimeoutException"
_SHUTDOWN = "ShutDownImminentException"
_JOB_TIMEOUT = "rq.timeouts.JobTimeoutException"
#: Statuses of a job that has run and is to run again, or is just running again.
_WAITING = frozenset({"queued", "scheduled", "started"})
#: Of a traceback: the exception's type and message.
_LAST_LINE = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*))?\s*\Z", re.MULTILINE)


def of_run(notes: JobNotes) -> Verdict:
    """The verdict on an attempt after `perform_job` has returned."""
    if notes.error is not None:
        return of_error(notes.error, notes.again)
    if notes.again is not None:
        return Verdict(Outcome.RETRY, again=_because(notes.again, "the job returned a Retry"))
    if notes.asked:
        return Verdict(Outcome.FAILURE, description="the job asked for more attempts than it may have")
    return SUCCESS


def of_error(error: BaseException, again: Again | None) -> Verdict:
    """An exception that ended the attempt: a timeout, a shutdown, a retry, or a failure."""
    kind = type(error)
    if compat.is_a(kind, _TIMEOUT):
        outcome = Outcome.TIMEOUT
    elif compat.is_a(kind, _SHUTDOWN):
        outcome = Outcome.LOST
    elif again is not None:
        return Verdict(Outcome.RETRY, again=again._replace(category=failure.category_of(error)))
    else:
        outcome = Outcome.FAILURE
    return Verdict(outcome, failure.raised(error)).retried(again)


def of_dead_horse(watch: Watch, again: Again | None, *, oom: bool) -> Verdict:
    """The work-horse died before RQ knew how the job ended."""
    ended = failure.exit_of_status(watch.status, oom=oom)
    outcome, words = Outcome.LOST, "the work-horse ended unexpectedly"
    if watch.overdue:
        outcome, words = Outcome.TIMEOUT, "killed by the worker, a minute after the timeout"
    return Verdict(outcome, exit=ended, description=words).retried(_because(again, words))


def of_stop(watch: Watch) -> Verdict:
    """The job was stopped by a command."""
    return Verdict(Outcome.REVOKED, exit=failure.exit_of_status(watch.status))


def of_shutdown(watch: Watch, error: BaseException) -> Verdict:
    """The worker stopped in the middle of the attempt and took the work-horse with it, or left it."""
    cold = isinstance(error, SystemExit)
    return _left(
        watch, "cold shutdown of the worker" if cold else f"the worker ended: {type(error).__name__}"
    )


def of_silent_horse(watch: Watch) -> Verdict:
    """The work-horse left in the middle of the job, as if all was well."""
    return _left(watch, "the work-horse ended before the job did")


def _left(watch: Watch, words: str) -> Verdict:
    """RQ leaves the job as started; its maintenance runs it again, if there are attempts left."""
    again = bool(getattr(watch.job, "retries_left", 0))
    ended = failure.exit_of_status(watch.status)
    return Verdict(Outcome.LOST, exit=ended, description=words, requeued=again)


def of_abandoned(kind: type[BaseException] | None, again: Again | None, words: str) -> Verdict:
    """RQ's maintenance found a job whose worker is gone; ``kind``: the exception that RQ reports."""
    raised = failure.reported(failure.qualified_name(kind), words) if kind is not None else None
    return Verdict(Outcome.LOST, raised, description=words).retried(_because(again, words))


def of_status(status: str, traceback: str = "") -> Verdict:
    """What RQ has stored about the job, where the work-horse's own word was lost."""
    if status in _WAITING:
        return Verdict(Outcome.RETRY, again=failure.Again(reason="it waits for another attempt"))
    if status != "failed":
        return SUCCESS
    named = _LAST_LINE.search(traceback)
    if named is None:
        return Verdict(Outcome.FAILURE)
    raised = failure.reported(named[1], named[2] or "", traceback)
    outcome = Outcome.TIMEOUT if named[1] == _JOB_TIMEOUT else Outcome.FAILURE
    return Verdict(outcome, raised)


def reason_of(error: BaseException | None) -> str:
    """Why another attempt was asked for, as far as an exception tells it."""
    return "" if error is None else f"{type(error).__name__}: {failure.message_of(error)}"


def _because(again: Again | None, reason: str) -> Again | None:
    return again if again is None or again.reason else again._replace(reason=reason)
