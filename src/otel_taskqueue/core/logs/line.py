"""One line of the JSON lines channel: short names, valid JSON for any message, bounded.

Needs the extra ``json`` (python-json-logger).
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple, cast

from opentelemetry import trace
from pythonjsonlogger.json import JsonEncoder, JsonFormatter

from otel_taskqueue import semconv
from otel_taskqueue.core.guard import is_control
from otel_taskqueue.core.logs.bounded import Limits, Plain, cut, text

#: Short name of each field of ours; the long ones are what the other channels have.
SHORT: Final = {
    semconv.MESSAGING_MESSAGE_ID: "job_id",
    semconv.TASK_NAME: "task",
    semconv.MESSAGING_DESTINATION_NAME: "queue",
    semconv.TASK_ATTEMPT: "attempt",
    semconv.EXCEPTION_TYPE: "exception_type",
    semconv.FAILURE_CATEGORY: "category",
}
#: A line longer than this (bytes) is cut: it may not fill a file, nor a collector's buffer.
LONGEST: Final = 256 * 1024
#: What a record has by itself, and what others add to say what we say in fields of our own.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime", "message", "taskName", "otelSpanID", "otelTraceID", "otelTraceSampled", "otelServiceName",
    semconv.WORKER_NAME, semconv.MESSAGING_SYSTEM, semconv.SYSTEM,
    semconv.EXCEPTION_MESSAGE, semconv.EXCEPTION_STACKTRACE,
}  # fmt: skip
_ABSENT: Final = "-"
_TRACEBACK_HEAD: Final = 0.25


class _Size(NamedTuple):
    message: int
    traceback: int
    extra: Limits


_SIZES: Final = (
    _Size(32_768, 65_536, Limits(8_192, 128, 65_536)),
    _Size(8_192, 16_384, Limits(256, 16, 8_192)),
    _Size(2_048, 4_096, Limits(32, 4, 1_024)),
    _Size(256, 256, Limits(16, 1, 64)),
)


class LineFormatter(JsonFormatter):
    """Formats a record as one line without its newline.

    Args:
        worker: The name of the worker, in every line.
    """

    def __init__(self, worker: str) -> None:
        super().__init__(json_ensure_ascii=False)  # pyright: ignore[reportUnknownMemberType]
        self._worker = worker
        self._other = JsonEncoder().default

    def format(self, record: logging.LogRecord) -> str:
        """Format one record; never raises an error of the record's own."""
        line = ""
        for size in _SIZES:
            line = self.serialize_log_record(self._fields(record, size))
            if len(line) * 4 <= LONGEST or len(line.encode("utf-8", "replace")) <= LONGEST:
                break
        return line

    def _fields(self, record: logging.LogRecord, size: _Size) -> dict[str, Any]:
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        found: dict[str, Any] = {
            "timestamp": _timestamp(record.created),
            "level": text(record.levelname, size.extra.text),
            "logger": text(record.name, size.message),
            "message": _message(record, size.message),
            "worker": self._worker,
        }
        plain = Plain(size.extra, self._other)
        for name, short in SHORT.items():
            value = extra.pop(name, _ABSENT)
            if value is not None and value != _ABSENT:
                found[short] = plain.value(value)
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            found["trace_id"] = trace.format_trace_id(span.trace_id)
            found["span_id"] = trace.format_span_id(span.span_id)
        self._add_traceback(found, record, size.traceback)
        # The user's own fields, also where they have one of our names.
        found.update(plain.mapping({key: value for key, value in extra.items() if _is_users(key, value)}))
        return found

    def _add_traceback(self, found: dict[str, Any], record: logging.LogRecord, limit: int) -> None:
        if record.exc_info or record.exc_text:
            shown = record.exc_text or self._traceback(record.exc_info)
            found["exception"] = cut(text(shown, len(shown)), limit, head=_TRACEBACK_HEAD)
        if record.stack_info:
            found["stack"] = text(record.stack_info, limit)

    def _traceback(self, exc_info: Any) -> str:
        try:
            return str(self.formatException(exc_info))
        except Exception as error:
            if is_control(error):
                raise
            return f"<unprintable {type(exc_info).__name__}>"


def _is_users(key: object, value: object) -> bool:
    """Not what libraries keep on a record for themselves, nor a field of ours that says nothing."""
    return not (isinstance(key, str) and key.startswith("_")) and not (
        isinstance(value, str) and value == _ABSENT and "." in str(key)
    )


def _timestamp(created: float) -> str:
    """RFC 3339 in UTC with microseconds."""
    try:
        found = datetime.fromtimestamp(created, timezone.utc)
    except (ValueError, OverflowError, OSError, TypeError):
        found = datetime.now(timezone.utc)
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord, limit: int) -> str:
    try:
        return text(record.getMessage(), limit)
    except Exception as error:
        if is_control(error):
            raise
    args: Any = record.args
    found = cast("tuple[Any, ...]", args) if isinstance(args, tuple) else (args,)
    shown = ", ".join(text(arg, limit) for arg in found)
    return cut(f"{text(record.msg, limit)} ({shown})", limit)
