"""Celery's own logging set-up throws the root's handlers away and cuts `celery.task` off: both repaired."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.logs import handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_taskqueue.core.telemetry import Telemetry

#: What Celery's own lines say about a job's payload (`celery.app.trace`, `celery.worker.strategy`).
_PAYLOAD = ("args", "kwargs", "return_value")
_OWN_LOGGERS = frozenset({"celery.app.trace", "celery.worker.strategy"})
_HIDDEN = "…"


def after_setup(telemetry: Telemetry) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap `Logging.setup_logging_subsystem`: what shipped before it ships after it."""

    def wrapper(setup: Callable[..., Any]) -> Callable[..., Any]:
        if not telemetry.settings.logs:
            return setup

        def setup_logging_subsystem(*args: Any, **kwargs: Any) -> Any:
            before = handlers.find(logging.getLogger())
            try:
                return setup(*args, **kwargs)
            finally:
                with Guarded("logging"):
                    _place(before)

        return setup_logging_subsystem

    return wrapper


def _place(before: logging.Handler | None) -> None:
    root, tasks = logging.getLogger(), logging.getLogger("celery.task")
    handler = handlers.shipping(handlers.find(root) or before, without_payload)
    if handler is None:
        return
    handlers.place(root, handler)
    if not tasks.propagate:
        handlers.place(tasks, handler)


def without_payload(record: logging.LogRecord) -> logging.LogRecord:
    """Celery's own lines about a job without its arguments and its result."""
    if record.name not in _OWN_LOGGERS:
        return record
    args: Any = record.args
    if isinstance(args, dict):
        args = _hide(cast("Mapping[str, Any]", args))
    return handlers.stripped(record, args=args, data=None)


def _hide(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _HIDDEN if key in _PAYLOAD else value for key, value in values.items()}
