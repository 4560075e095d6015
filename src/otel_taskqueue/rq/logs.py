"""RQ's log lines: which attempt each is about, what it says about its payload and its failure."""

from __future__ import annotations

import logging
import re
import sys
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue import semconv
from otel_taskqueue.core import delivery, failure, oom
from otel_taskqueue.core.failure import Verdict
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.job import Current
from otel_taskqueue.core.logs import channels, fields, handlers
from otel_taskqueue.rq import job as _job
from otel_taskqueue.rq import notes, verdicts
from otel_taskqueue.semconv import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

_HIDDEN: Final = "…"
#: Lines with the description of a job, which by default is its call: how they end or begin.
_TAKEN: Final = "%s: %s (%s)"
_COMPLETED: Final = "Successfully completed %s job"
#: Stands where the description does in a line that ends like `_TAKEN`.
_OK: Final = "Job OK"
_COLOR: Final = re.compile(r"\x1b\[[\d;]*m")
#: Whatever else looks like a call.
_CALL: Final = re.compile(r"([^\s(]+)\(.*\)", re.DOTALL)
_RESULT: Final = re.compile(r"result: %r", re.IGNORECASE)
#: The task's name, where the job carries none and its description is no call.
_UNKNOWN: Final = "unknown"
#: RQ writes the traceback of a failed job into the text of this line; the exception is being handled then.
_RAISED: Final = "exception raised while executing"
_DIED: Final = "Work-horse terminated unexpectedly"
#: In that line: RQ has waited in vain, killed the work-horse itself and not looked how it ended.
_OVERDUE: Final = "waitpid returned None"


class _Latest(threading.local):
    """The job that this thread has loaded last."""

    job: Callable[[], Any] = staticmethod(lambda: None)


_latest = _Latest()
#: The worker and the job of which it executes an attempt.
_executing: ContextVar[tuple[Any, Any] | None] = ContextVar("otel_taskqueue_executing", default=None)
_worker = ""


def connect(telemetry: Telemetry) -> None:
    """Give records of jobs their fields."""
    if telemetry.settings.logs:
        fields.install(semconv.RQ, telemetry.settings.baggage_keys)
        fields.find_by("rq.worker", _taken)


def disconnect() -> None:
    """Leave records alone."""
    channels.stop(semconv.RQ)
    handlers.stop(semconv.RQ)
    fields.uninstall(semconv.RQ)


def ship(telemetry: Telemetry, worker: Any = None, slot: str = channels.MAIN) -> None:
    """This process is a worker, a scheduler or the like: its records are shipped from here on."""
    global _worker  # noqa: PLW0603  one worker per process
    if not telemetry.settings.logs:
        return
    with Guarded("logging"):
        _worker = worker.name if worker is not None else _worker
        handlers.start(semconv.RQ, as_shipped, telemetry.logger_provider)
        if worker is not None:
            channels.start(semconv.RQ, telemetry, worker.name, slot)


def before_console(telemetry: Telemetry) -> Wrapper:
    """Wrap `CronScheduler.__init__`, which prints only where it finds no handler at all."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            ship(telemetry)
            return original(*args, **kwargs)

        return call

    return wrapper


def has_console(telemetry: Telemetry) -> Wrapper:
    """Wrap `rq.logutils._has_effective_handler`: what ships is no console, whoever ships."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def has_effective_handler(logger: logging.Logger) -> bool:
            ship(telemetry)
            return bool(original(logger)) and any(
                not handlers.is_opentelemetry(handler) for handler in _handlers(logger)
            )

        return has_effective_handler

    return wrapper


def loaded(telemetry: Telemetry, then: Wrapper) -> Wrapper:
    """Wrap `Job.restore`: the line that names the job comes next."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        restore = then(original)
        if not telemetry.settings.logs:
            return restore

        def restore_job(job: Any, *args: Any, **kwargs: Any) -> Any:
            _latest.job = weakref.ref(job)
            return restore(job, *args, **kwargs)

        return restore_job

    return wrapper


def about_job(telemetry: Telemetry, then: Wrapper) -> Wrapper:
    """Wrap `execute_job`: what is logged in there is about the job's attempt."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        execute = then(original)
        if not telemetry.settings.logs:
            return execute

        def execute_job(worker: Any, *args: Any, **kwargs: Any) -> Any:
            job = notes.argument(args, kwargs, "job")
            token = fields.about(lambda: _current_of(job, worker.name, _span_of(worker, job)))
            executing = _executing.set((worker, job))
            try:
                return execute(worker, *args, **kwargs)
            finally:
                _executing.reset(executing)
                fields.about_nothing(token)

        return execute_job

    return wrapper


def as_shipped(record: logging.LogRecord) -> None:
    """A copy of one of RQ's own lines: without arguments and results, and with the failure it tells of."""
    if not record.name.startswith("rq."):
        return
    if record.levelno >= logging.WARNING:
        _name_failure(record)
    _without_payload(record)


def _name_failure(record: logging.LogRecord) -> None:
    if _RAISED in str(record.msg):
        record.exc_info = record.exc_info or sys.exc_info()
    verdict = _verdict_in(record)
    if verdict is not None and verdict.category is not None:
        vars(record)[semconv.FAILURE_CATEGORY] = verdict.category


def _verdict_in(record: logging.LogRecord) -> Verdict | None:
    """How the attempt ended of which the line tells; None: the line tells of no end, or too little."""
    text = str(record.msg)
    if _RAISED in text:
        error = sys.exc_info()[1]
        return verdicts.of_error(error, None) if error is not None else None
    if "exceeded maximum retry attempts" in text:
        return Verdict(Outcome.FAILURE)
    text = " ".join([text, *(arg for arg in record.args or () if isinstance(arg, str))])
    if record.name == "rq.registry" and "due to AbandonedJobError" in text:
        return Verdict(Outcome.LOST, failure.reported("rq.exceptions.AbandonedJobError", ""))
    return _of_dead_horse(text) if _DIED in text else None


def _of_dead_horse(text: str) -> Verdict | None:
    """As `rq.watch` judges after the line."""
    executing = _executing.get()
    watch = notes.watch_of(*executing) if executing is not None else None
    if watch is None:
        return None
    by_kernel = bool(watch.status) and oom.rose_since(watch.oom_kills)
    verdict = verdicts.of_dead_horse(watch, None, oom=by_kernel)
    overdue = _OVERDUE in text and watch.status is not None
    return verdict._replace(outcome=Outcome.TIMEOUT) if overdue else verdict


def _without_payload(record: logging.LogRecord) -> None:
    for name in ("arguments", "kwargs"):
        vars(record).pop(name, None)
    if not isinstance(record.args, tuple) or not record.args:
        return
    text, values = str(record.msg), [_without_call(value) for value in record.args]
    if text.endswith(_TAKEN):
        values[-2:-1] = [_described(record, value) for value in values[-2:-1]]
    elif text.startswith(_COMPLETED):
        values[0] = _described(record, values[0])
    elif _RESULT.search(text):
        values[-1] = _HIDDEN
    record.args = tuple(values)


def _described(record: logging.LogRecord, description: object) -> str:
    """The task's name in the place of a description, which may be anything with the job's arguments in it."""
    description = _COLOR.sub("", str(description))
    if description == _OK:
        return description
    task = vars(record).get(semconv.TASK_NAME, _UNKNOWN)
    if task != _UNKNOWN:
        return f"{task}({_HIDDEN})"
    known, hidden, _ = description.partition("(")
    return f"{known}({_HIDDEN})" if hidden else known


def _without_call(value: object) -> object:
    if not isinstance(value, str):
        return value
    call = _CALL.fullmatch(_COLOR.sub("", value))
    return f"{call[1]}({_HIDDEN})" if call else value


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent


def _taken(record: logging.LogRecord) -> Current | None:
    """The job that the worker has just taken from its queue, when the line names it."""
    job = _latest.job()
    if job is None or not isinstance(record.args, tuple) or job.id not in record.args:
        return None
    return _current_of(job, _worker or None, None)


def _current_of(job: Any, worker: str | None, span: SpanContext | None) -> Current:
    carrier = _job.carrier_of(job)
    return Current(_job.of_watch(job, carrier, worker), carrier, span)


def _span_of(worker: Any, job: Any) -> SpanContext | None:
    """As far as the work-horse has announced it: nobody waits for that here."""
    watch = notes.watch_of(worker, job)
    if watch is None:
        return None
    attempt = watch.attempt
    if attempt.context is None and attempt.started:
        attempt.context = delivery.context_of(attempt.started)
    return attempt.context
