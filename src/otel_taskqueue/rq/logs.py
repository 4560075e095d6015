"""RQ's console stays, although a handler of OpenTelemetry is on the root; what ships has no payloads."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, cast

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.logs import handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_taskqueue.core.telemetry import Telemetry

_HIDDEN = "…"
#: RQ's own description of a job is its call, perhaps coloured.
_CALL = re.compile(r"((?:\x1b\[[\d;]*m)?[\w.]+)\(.*\)((?:\x1b\[[\d;]*m)?)", re.DOTALL)
_RESULT = re.compile(r"result: %r", re.IGNORECASE)


def ship(telemetry: Telemetry) -> None:
    """From here on records leave this process without the payloads of jobs."""
    if not telemetry.settings.logs:
        return
    with Guarded("logging"):
        root = logging.getLogger()
        handler = handlers.shipping(handlers.find(root), without_payload)
        if handler is not None:
            handlers.place(root, handler)


def without_payload(record: logging.LogRecord) -> logging.LogRecord:
    """RQ's own lines about a job without its arguments and its result."""
    if not record.name.startswith("rq."):
        return record
    args: Any = record.args
    if isinstance(args, tuple):
        args = tuple([_hide(value) for value in cast("tuple[Any, ...]", args)])
        if _RESULT.search(str(record.msg)):
            args = (*args[:-1], _HIDDEN)
    return handlers.stripped(record, args=args or (), arguments=None, kwargs=None)


def has_console(_telemetry: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap `rq.logutils._has_effective_handler`: what ships is no console."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def has_effective_handler(logger: logging.Logger) -> bool:
            if not original(logger):
                return False
            return any(not handlers.is_opentelemetry(handler) for handler in _handlers(logger))

        return has_effective_handler

    return wrapper


def _hide(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    call = _CALL.fullmatch(value)
    return f"{call[1]}({_HIDDEN}){call[2]}" if call else value


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent
