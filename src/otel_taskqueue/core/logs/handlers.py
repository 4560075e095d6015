"""Where log records leave the process: the OpenTelemetry handler that is there, or one of ours.

What ships is a copy of the record without payloads; consoles and files print what they printed.
"""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger, get_logger_provider

from otel_taskqueue.core import failure
from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Strip = Callable[[logging.LogRecord], logging.LogRecord]

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
    (1, SeverityNumber.DEBUG),
)


def is_opentelemetry(handler: logging.Handler) -> bool:
    """Whether a handler ships to OpenTelemetry: contrib's, the SDK's, or ours."""
    return isinstance(handler, Shipping) or type(handler).__module__.startswith("opentelemetry.")


def find(logger: logging.Logger) -> logging.Handler | None:
    """The handler of this logger that ships to OpenTelemetry."""
    return next((handler for handler in logger.handlers if is_opentelemetry(handler)), None)


def place(logger: logging.Logger, handler: logging.Handler) -> None:
    """Put the handler on the logger, in the place of what ships from there already."""
    for other in [other for other in logger.handlers if is_opentelemetry(other)]:
        logger.removeHandler(other)
    logger.addHandler(handler)


def shipping(found: logging.Handler | None, strip: Strip) -> Shipping | None:
    """A handler which ships without payloads through ``found``, else by the Logs API."""
    if isinstance(found, Shipping):
        return found
    if found is not None:
        return Shipping(found, strip)
    if not hasattr(get_logger_provider(), "add_log_record_processor"):
        return None  # nobody has set logs up
    return Shipping(Emitting(), strip)


class Shipping(logging.Handler):
    """Hands a payload-free copy of each record to another handler."""

    def __init__(self, inner: logging.Handler, strip: Strip) -> None:
        super().__init__(inner.level)
        self._inner = inner
        self._strip = strip

    def emit(self, record: logging.LogRecord) -> None:
        """Ship a record; whatever fails is ours."""
        with Guarded("log handler"):
            self._inner.handle(self._strip(record))

    def flush(self) -> None:
        """Flush the other handler."""
        self._inner.flush()


class Emitting(logging.Handler):
    """Emits records by the Logs API: for applications without a handler of OpenTelemetry."""

    def emit(self, record: logging.LogRecord) -> None:
        """Emit one record in the current context."""
        get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                severity_number=_severity(record.levelno),
                severity_text="WARN" if record.levelname == "WARNING" else record.levelname,
                body=record.getMessage(),
                attributes=_attributes(record),
            )
        )


def stripped(record: logging.LogRecord, **changes: Any) -> logging.LogRecord:
    """A copy of the record with other values; None takes the attribute away."""
    found = copy.copy(record)
    for name, value in changes.items():
        if value is None:
            vars(found).pop(name, None)
        else:
            setattr(found, name, value)
    return found


def _severity(level: int) -> SeverityNumber:
    return next((number for least, number in _SEVERITIES if level >= least), SeverityNumber.UNSPECIFIED)


def _attributes(record: logging.LogRecord) -> Mapping[str, Any]:
    extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    found = {key: value for key, value in extra.items() if isinstance(value, (str, int, float, bool))}
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        found.update(cast("Mapping[str, Any]", failure.exception_event(failure.raised(error))))
    return found
