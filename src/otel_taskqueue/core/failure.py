"""How an attempt ended, in one table: outcome -> is it an error, and what a span says about it."""

from __future__ import annotations

import signal
import traceback
from typing import TYPE_CHECKING, NamedTuple

from otel_taskqueue import semconv
from otel_taskqueue.core import category as _category
from otel_taskqueue.core import redact
from otel_taskqueue.semconv import Category, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Outcomes whose span has the status ERROR unless the verdict says otherwise.
ERRORS = frozenset({Outcome.FAILURE, Outcome.TIMEOUT, Outcome.LOST, Outcome.UNKNOWN, Outcome.REJECTED})


#: Failures of which no exception says more -> what kind they are.
CATEGORIES = {
    Outcome.TIMEOUT: Category.TIMEOUT,
    Outcome.LOST: Category.KILLED,
    Outcome.REJECTED: Category.DATA,
    Outcome.UNKNOWN: Category.CODE,
}


class Raised(NamedTuple):
    """An exception as text: nothing of it is kept alive, and it can cross processes.

    ``category``: a value of `Category`, None when nothing but the type is known and the table
    does not have it.
    """

    type: str
    message: str
    stacktrace: str = ""
    category: str | None = None


class Again(NamedTuple):
    """Another attempt was asked for; ``delay`` in seconds, None when not known.

    ``category``: of the exception because of which it was asked for, None when there was none.
    """

    delay: float | None = None
    reason: str = ""
    category: str | None = None


class Exit(NamedTuple):
    """How the process of the attempt ended. ``oom``: the cgroup's oom_kill count rose."""

    code: int | None = None
    signal: str | None = None
    oom: bool = False


class Verdict(NamedTuple):
    """The one judgement on an attempt.

    ``error`` None means: as the table of outcomes has it. ``record`` False keeps the exception's
    type but does not record it (an expected exception, a revoked job).
    ``requeued``: the message went back to the broker.
    """

    outcome: Outcome
    raised: Raised | None = None
    again: Again | None = None
    exit: Exit | None = None
    error: bool | None = None
    description: str = ""
    record: bool = True
    requeued: bool = False

    @property
    def is_final(self) -> bool:
        """Whether the job ends with this attempt: nobody runs it again, and nothing stands for it."""
        if self.again is not None or self.requeued:
            return False
        return self.outcome not in {Outcome.RETRY, Outcome.IGNORED}

    @property
    def is_error(self) -> bool:
        """Whether the span gets the status ERROR."""
        return self.outcome in ERRORS if self.error is None else self.error

    @property
    def error_type(self) -> str | None:
        """``module.qualname`` of the exception, else the signal's name or ``exit_code``.

        An error of which the library says no more than that is known by its outcome.
        """
        if self.outcome is Outcome.RETRY:
            return None
        if self.raised is not None:
            return self.raised.type
        if self.exit is not None and self.is_error:
            return self.exit.signal or semconv.EXIT_CODE_ERROR
        return self.outcome.value if self.is_error else None

    @property
    def category(self) -> str | None:
        """What kind of failure it was; None for an attempt that did not fail."""
        if self.outcome is Outcome.RETRY:
            return self.again.category if self.again is not None else None
        if not self.is_error and self.raised is None:
            return None
        if self.exit is not None and self.exit.oom:
            return Category.RESOURCE.value
        known = self.raised.category if self.raised is not None else None
        if known is None or known == Category.UNKNOWN.value:
            return CATEGORIES.get(self.outcome, Category.UNKNOWN).value
        return known

    @property
    def exception(self) -> Raised | None:
        """The exception to record, at most once for each attempt; that of a retried one is in its event."""
        if self.raised is None or not self.record or not self.is_error or self.again is not None:
            return None
        return self.raised._replace(category=self.category)

    def retried(self, again: Again | None) -> Verdict:
        """The same, when another attempt was asked for because of it; None: it was not."""
        if again is not None and again.category is None:
            again = again._replace(category=self.category)
        return self._replace(again=again)


SUCCESS = Verdict(Outcome.SUCCESS)


def qualified_name(kind: type[BaseException]) -> str:
    """``module.qualname``, builtins bare (semantic conventions, exception.type)."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def raised(error: BaseException, stacktrace: str | None = None) -> Raised:
    """An exception as text without secrets; a traceback that somebody formatted already is used again."""
    if stacktrace is None:
        stacktrace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    message, stacktrace = redact.secrets(message_of(error)), redact.secrets(stacktrace)
    return Raised(qualified_name(type(error)), message, stacktrace, category_of(error))


def reported(name: str, message: str, stacktrace: str = "") -> Raised:
    """An exception of which the library has told no more than this; ``name`` is ``module.qualname``."""
    known = _category.of_name(name)
    message, stacktrace = redact.secrets(message), redact.secrets(stacktrace)
    return Raised(name, message, stacktrace, known.value if known is not None else None)


def category_of(error: BaseException) -> str:
    """What kind of failure the exception is, a value of `Category`."""
    return _category.of(error).value


def message_of(error: BaseException) -> str:
    """``str(error)``, which user code may have broken."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  any error of a foreign __str__
        return f"<unprintable {type(error).__name__}>"


def exit_of_status(status: int | None, *, oom: bool = False) -> Exit | None:
    """A wait status (``os.wait4``) as exit code or signal name."""
    import os  # noqa: PLC0415  only when a process died

    if status is None:
        return None
    if os.WIFSIGNALED(status):
        return Exit(signal=signal_name(os.WTERMSIG(status)), oom=oom)
    return Exit(code=os.waitstatus_to_exitcode(status))


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; an unknown number stays a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def attributes_of(verdict: Verdict) -> dict[str, str | int | bool]:
    """What the verdict adds to the span's attributes."""
    found: dict[str, str | int | bool] = {semconv.TASK_OUTCOME: verdict.outcome.value}
    error_type = verdict.error_type
    if error_type is not None:
        found[semconv.ERROR_TYPE] = error_type
    category = verdict.category
    if category is not None:
        found[semconv.FAILURE_CATEGORY] = category
    ended = verdict.exit
    if ended is not None:
        if ended.code is not None:
            found[semconv.EXIT_CODE] = ended.code
        if ended.signal is not None:
            found[semconv.EXIT_SIGNAL] = ended.signal
        if ended.oom:
            found[semconv.EXIT_OOM] = True
    return found


def description_of(verdict: Verdict) -> str:
    """The status description: the library's words, else the exception's message."""
    if verdict.description:
        return verdict.description
    return verdict.raised.message if verdict.raised is not None else ""


def retry_event(again: Again, attempt: int) -> Mapping[str, str | int | float]:
    """Attributes of the event ``taskqueue.retry``; the attempt is the one to come."""
    event: dict[str, str | int | float] = {semconv.TASK_ATTEMPT: attempt + 1}
    if again.delay is not None:
        event[semconv.RETRY_DELAY] = again.delay
    if again.reason:
        event[semconv.RETRY_REASON] = redact.secrets(again.reason)
    if again.category is not None:
        event[semconv.FAILURE_CATEGORY] = again.category
    return event


def exception_event(error: Raised) -> Mapping[str, str]:
    """Attributes of the event (or log record) of an exception."""
    event = {semconv.EXCEPTION_TYPE: error.type, semconv.EXCEPTION_MESSAGE: error.message}
    if error.stacktrace:
        event[semconv.EXCEPTION_STACKTRACE] = error.stacktrace
    return event
