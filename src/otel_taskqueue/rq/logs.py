"""RQ's log lines: which of them are about which attempt, and what they say about its payload."""

from __future__ import annotations

import logging
import re
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, cast

from otel_taskqueue import semconv
from otel_taskqueue.core import delivery
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.job import Current
from otel_taskqueue.core.logs import channels, fields, handlers
from otel_taskqueue.rq import job as _job
from otel_taskqueue.rq import notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import SpanContext

    from otel_taskqueue.core.telemetry import Telemetry

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

_HIDDEN: Final = "…"
#: RQ's own description of a job is its call, perhaps coloured.
_CALL: Final = re.compile(r"((?:\x1b\[[\d;]*m)*[\w.<>]+)\(.*\)((?:\x1b\[[\d;]*m)*)", re.DOTALL)
_RESULT: Final = re.compile(r"result: %r", re.IGNORECASE)
#: RQ writes the traceback of a failed job into the text of this line; the exception is being handled then.
_RAISED: Final = "exception raised while executing"
#: What the worker's parent says of a job that did not end by itself.
_ENDED: Final = (
    ("terminated unexpectedly", semconv.Category.KILLED.value),
    ("stopped by user", semconv.Category.CANCELLED.value),
)


class _Latest(threading.local):
    """The job that this thread has loaded last."""

    job: Callable[[], Any] = staticmethod(lambda: None)


_latest = _Latest()
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
            try:
                return execute(worker, *args, **kwargs)
            finally:
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
        return
    text = record.getMessage()
    for words, category in _ENDED:
        if words in text:
            vars(record).setdefault(semconv.FAILURE_CATEGORY, category)


def _without_payload(record: logging.LogRecord) -> None:
    for name in ("arguments", "kwargs"):
        vars(record).pop(name, None)
    args: Any = record.args
    if isinstance(args, tuple):
        args = tuple([_hide(value) for value in cast("tuple[Any, ...]", args)])
        if args and _RESULT.search(str(record.msg)):
            args = (*args[:-1], _HIDDEN)
        record.args = args


def _hide(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    call = _CALL.fullmatch(value)
    return f"{call[1]}({_HIDDEN}){call[2]}" if call else value


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
