"""What a log record says about its job: the span's attribute names as fields of each record.

They are set after the user's ``extra``, only where absent and never over an attribute of LogRecord.
In a worker every record has them, `ABSENT` outside of an attempt, so that any format may name them.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import baggage, context, trace
from opentelemetry.trace import NonRecordingSpan

from otel_taskqueue import semconv
from otel_taskqueue.core import carrier
from otel_taskqueue.core.guard import is_control, report
from otel_taskqueue.core.lifecycle import current_attempt
from otel_taskqueue.core.patch import Applied, Patch, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context

    from otel_taskqueue.core.job import Current, JobView

    #: Finds the attempt that a line of the worker's parent is about.
    Find = Callable[[], Current | None]
    FindByRecord = Callable[[logging.LogRecord], Current | None]

#: The fields of every record, beside the chosen baggage keys.
NAMES: Final = (
    semconv.MESSAGING_SYSTEM,
    semconv.MESSAGING_DESTINATION_NAME,
    semconv.MESSAGING_MESSAGE_ID,
    semconv.SYSTEM,
    semconv.TASK_NAME,
    semconv.TASK_ATTEMPT,
    semconv.WORKER_NAME,
)
#: What a field holds where there is nothing to say; such a field never leaves the process.
ABSENT: Final = "-"
#: What belongs to LogRecord itself, its methods and what formatters add included.
RESERVED: Final = frozenset(
    {*vars(logging.makeLogRecord({})), *dir(logging.LogRecord), "message", "asctime", "taskName"}
)

_subject: ContextVar[Find | None] = ContextVar("otel_taskqueue_subject", default=None)
_finders: dict[str, FindByRecord] = {}
_about: WeakKeyDictionary[logging.LogRecord, Current] = WeakKeyDictionary()
_rooms: dict[str, tuple[str, ...]] = {}
_baggage_keys: tuple[str, ...] = ()
_worker = False
_absent: dict[str, str] = {}
_applied: Applied | None = None
_latest: tuple[JobView | None, dict[str, Any]] = (None, {})


def install(room: str, baggage_keys: Iterable[str] = ()) -> None:
    """From here on records of jobs have the fields; once for each room."""
    global _applied  # noqa: PLW0603  one Logger class per process
    _rooms[room] = tuple(key for key in baggage_keys if key not in RESERVED)
    _choose_names()
    if _applied is None:
        _applied = replace(logging, Patch("logging", "Logger.makeRecord", _filled))


def uninstall(room: str) -> None:
    """The room needs no fields any more; the last one gives `Logger.makeRecord` back."""
    global _applied, _worker
    _rooms.pop(room, None)
    if not _rooms and _applied is not None:
        _applied.restore()
        _applied, _worker = None, False
    _choose_names()


def in_worker() -> None:
    """This process is a worker: every record has the fields."""
    global _worker  # noqa: PLW0603
    _worker = True
    _choose_names()


def names() -> tuple[str, ...]:
    """The names of all fields, the chosen baggage keys included."""
    return (*NAMES, *_baggage_keys)


def find_by(logger: str, find: FindByRecord) -> None:
    """Ask ``find`` about records of this logger which are written outside of an attempt."""
    _finders[logger] = find


def about(find: Find) -> Any:
    """Lines written from here to `about_nothing` are about the attempt that ``find`` returns."""
    return _subject.set(find)


def about_nothing(token: Any) -> None:
    """Undo `about`."""
    _subject.reset(token)


def fill(record: logging.LogRecord) -> None:
    """Set the fields that are missing."""
    values, current = vars(record), current_attempt()
    if current is None:
        current = _found(record)
        if current is None:
            for name, nothing in _absent.items():
                values.setdefault(name, nothing)
            return
        _about[record] = current
    for name, value in _of_job(current.job).items():
        values.setdefault(name, value)
    if _baggage_keys:
        _fill_baggage(values, record)


def context_of(record: logging.LogRecord) -> Context | None:
    """The context of the attempt that a line of the parent is about; None: the current one is right.

    Below the attempt's span where that is known, else below the span of whoever sent the job.
    """
    current = _about.get(record) if _about else None
    if current is None:
        return None
    sender = carrier.extract(current.carrier)
    span = current.span_context
    return sender if span is None else trace.set_span_in_context(NonRecordingSpan(span), sender)


def _filled(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            fill(record)
        except BaseException as error:
            if is_control(error):
                raise
            report("log fields", error)
        return record

    return make_record


def _found(record: logging.LogRecord) -> Current | None:
    if record.name.startswith(semconv.SCOPE):
        return None  # ours may come from the middle of what is looked at here
    find = _subject.get()
    found = find() if find is not None else None
    if found is None and record.name in _finders:
        found = _finders[record.name](record)
    return found


def _of_job(job: JobView) -> dict[str, Any]:
    global _latest  # noqa: PLW0603  one tuple, replaced as a whole
    known, found = _latest
    if known is not job:
        found = {
            semconv.MESSAGING_SYSTEM: job.broker.system,
            semconv.MESSAGING_DESTINATION_NAME: job.queue,
            semconv.MESSAGING_MESSAGE_ID: job.id,
            semconv.SYSTEM: job.library,
            semconv.TASK_NAME: job.task,
            semconv.TASK_ATTEMPT: job.attempt,
            semconv.WORKER_NAME: job.worker or ABSENT,
        }
        _latest = (job, found)
    return found


def _fill_baggage(values: dict[str, Any], record: logging.LogRecord) -> None:
    where = context_of(record) or context.get_current()
    for key in _baggage_keys:
        value = baggage.get_baggage(key, where)
        values.setdefault(key, ABSENT if value is None else str(value))


def _choose_names() -> None:
    global _absent, _baggage_keys  # noqa: PLW0603
    _baggage_keys = tuple(dict.fromkeys(key for keys in _rooms.values() for key in keys))
    _absent = dict.fromkeys(names(), ABSENT) if _worker else {}
