"""A handler of our own on the Logs API, for applications without a handler of OpenTelemetry."""

from __future__ import annotations

import logging
from typing import Any, Final

from opentelemetry import context
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger

from otel_taskqueue.core.logs import fields

_SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
    (1, SeverityNumber.DEBUG),
)
_TEXTS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class Emitting(logging.Handler):
    """Emits records by the Logs API of one provider."""

    def __init__(self, provider: Any) -> None:
        super().__init__()
        self._logger_provider = provider  # named as in OpenTelemetry's own handlers

    def emit(self, record: logging.LogRecord) -> None:
        """Emit one record in the current context."""
        get_logger(record.name, logger_provider=self._logger_provider).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                context=context.get_current(),
                severity_number=_severity(record.levelno),
                severity_text=_TEXTS.get(record.levelname, record.levelname),
                body=record.getMessage(),
                attributes={key: value for key, value in vars(record).items() if key not in fields.RESERVED},
            )
        )


def _severity(level: int) -> SeverityNumber:
    return next((number for least, number in _SEVERITIES if level >= least), SeverityNumber.UNSPECIFIED)
