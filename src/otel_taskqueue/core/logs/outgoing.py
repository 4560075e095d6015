"""The copy of a log record that leaves the process: no payloads, no secrets, no fields without a value.

The record itself stays as it is: consoles and files of the application print what they printed.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from otel_taskqueue import semconv
from otel_taskqueue.core import failure, redact
from otel_taskqueue.core.guard import is_control
from otel_taskqueue.core.logs import bounded, fields

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Takes the payload of a job out of a copy, where a library has put it into its own lines; a line
    #: that tells of the end of an attempt gets the category of its failure.
    Strip = Callable[[logging.LogRecord], None]

#: Libraries which write exceptions and addresses into the text of their lines; ``py`` are their warnings.
_LIBRARIES: Final = frozenset({"celery", "kombu", "amqp", "billiard", "rq", "redis", "py", semconv.SCOPE})
#: Loggers of theirs that hold what the application wrote.
_OF_USERS: Final = ("celery.redirected", "celery.task")
#: What a formatter has left on the record: with everything in it.
_FORMATTED: Final = ("message", "asctime")
#: Of what cannot be turned into text as it is.
_LONGEST: Final = 8192
_LIMITS: Final = bounded.Limits(1024, 32, _LONGEST)
_PLAIN: Final = frozenset({str, bool, int, float, bytes, type(None)})


def copy_of(record: logging.LogRecord, strips: Sequence[Strip]) -> logging.LogRecord:
    """A copy of the record as it may leave the process."""
    found = logging.LogRecord.__new__(type(record))
    values = vars(found)
    values.update(vars(record))
    for name in _FORMATTED:
        values.pop(name, None)
    for name in fields.names():
        if values.get(name) == fields.ABSENT:
            del values[name]
    for strip in strips:
        strip(found)
    if found.exc_info:
        _write_exception(found)
    elif values.get("exc_text"):
        found.exc_text = redact.secrets(str(found.exc_text))
    text = _text(found)
    found.msg = redact.secrets(text) if record.exc_info or _is_of_library(record.name) else text
    found.args = ()
    for name, value in values.items():
        if type(value) not in _PLAIN and name not in fields.RESERVED:
            values[name] = _attribute(value)
    return found


def exception_of(record: logging.LogRecord) -> tuple[BaseException | None, Any]:
    """The exception of a record with its traceback, as far as what is there can be one."""
    exc_info: Any = record.exc_info
    if not isinstance(exc_info, tuple):
        return None, None
    _, error, frames = cast("tuple[Any, Any, Any]", exc_info)
    return (error, frames) if isinstance(error, BaseException) else (None, None)


def _is_of_library(name: str) -> bool:
    return name.partition(".")[0] in _LIBRARIES and not name.startswith(_OF_USERS)


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # the console tells the user that message and arguments do not fit
        if is_control(error):
            raise
        return bounded.text(record.msg, _LONGEST)


def _write_exception(record: logging.LogRecord) -> None:
    """The exception as attributes: a handler would write what it finds in ``exc_info`` as it is."""
    error, frames = exception_of(record)
    record.exc_info = None
    if error is None:
        return
    raised = failure.raised(error, "".join(traceback.format_exception(type(error), error, frames)))
    record.exc_text = raised.stacktrace.rstrip("\n")  # for a handler with a format of its own
    for name, text in failure.exception_event(raised).items():
        vars(record).setdefault(name, text)


def _attribute(value: Any) -> Any:
    """The same; of what contains itself, or cannot be looked through, a part."""
    try:
        return _plain(value)
    except Exception as error:
        if is_control(error):
            raise
        return bounded.Plain(_LIMITS, str).value(value)


def _plain(value: Any) -> Any:
    """The same value in types that a log record may have: the SDK complains about others on the console."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytearray)):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    try:
        return str(value)
    except Exception:  # noqa: BLE001  any error of a foreign __str__
        return f"<unprintable {type(value).__name__}>"
